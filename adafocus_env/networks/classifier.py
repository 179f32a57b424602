"""The classifiers: what the clip has shown so far, and which action it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RecurrentClassifier(nn.Module):
    """A one-layer GRU over the frames' features and a linear layer at every step.

    The state is an argument and a result; the module remembers nothing between calls.

    Args:
        num_features: F, glance vector and patch vector together.
        hidden_dim: S, size of the state.
        num_classes: K.
        dropout: on the GRU's outputs, while training.
    """

    def __init__(
        self, num_features: int, hidden_dim: int, num_classes: int, *, dropout: float = 0.0
    ):
        super().__init__()
        self.gru = nn.GRU(num_features, hidden_dim, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_dim, num_classes)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame.

        Args:
            features: `(N, F)`.
            state: `(N, S)`; zeros at the start of an episode.

        Returns:
            logits `(N, K)`, new state `(N, S)`.
        """
        _, last = self.gru(features[:, None], state[None].contiguous())
        new_state: Tensor = last[0]
        return self.fc(self.dropout(new_state)), new_state

    def step_each(self, shared: Tensor, each: Tensor, state: Tensor) -> Tensor:
        """One frame under A alternatives; what they have in common is computed once.

        Args:
            shared: `(N, F1)`, the first of the features.
            each: `(N, A, F2)`, the others; F1 + F2 is F.
            state: `(N, S)`.

        Returns:
            logits `(N, A, K)`; they equal those of `step`.
        """
        input_weight, hidden_weight, input_bias, hidden_bias = self.gru.all_weights[0]
        first_weight, other_weight = input_weight.split([shared.shape[1], each.shape[2]], dim=1)
        inputs = F.linear(each, other_weight)
        inputs = inputs + F.linear(shared, first_weight, input_bias)[:, None]
        hidden = F.linear(state, hidden_weight, hidden_bias)[:, None]
        # PyTorch's order of the gates: reset, update, new.
        reset_in, update_in, new_in = inputs.chunk(3, dim=2)
        reset_hidden, update_hidden, new_hidden = hidden.chunk(3, dim=2)
        reset = (reset_in + reset_hidden).sigmoid_()
        update = (update_in + update_hidden).sigmoid_()
        new = torch.addcmul(new_in, reset, new_hidden).tanh_()
        new_state = torch.lerp(new, state[:, None].expand_as(new), update)
        logits: Tensor = self.fc(self.dropout(new_state))
        return logits

    def sequence(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips from the zero state.

        Args:
            features: `(N, T, F)`.

        Returns:
            logits `(N, T, K)` and states `(N, T, S)` after every step.
        """
        states, _ = self.gru(features)
        return self.fc(self.dropout(states)), states


class MeanClassifier(nn.Module):
    """One hidden layer on each frame's features; logits are the mean over the frames so far.

    It has a fifth of the weights of a GRU as wide and no order to overfit, which small sets need;
    and a frame's look counts for that frame alone. The state is an argument and a result: the sum
    of the logits, and how many there are.

    Args:
        num_features: F, glance vector and patch vector together.
        hidden_dim: of the hidden layer.
        num_classes: K; the state has K + 1 numbers.
        dropout: on the features and on the hidden layer, while training.
    """

    def __init__(
        self, num_features: int, hidden_dim: int, num_classes: int, *, dropout: float = 0.0
    ):
        super().__init__()
        self.hidden = nn.Linear(num_features, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_dim, num_classes)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame; see `RecurrentClassifier.step`."""
        new_state = state + _counted(self._logits(self.hidden(self.dropout(features))))
        return new_state[:, :-1] / new_state[:, -1:], new_state

    def step_each(self, shared: Tensor, each: Tensor, state: Tensor) -> Tensor:
        """One frame under A alternatives; see `RecurrentClassifier.step_each`."""
        first, other = self.hidden.weight.split([shared.shape[1], each.shape[2]], dim=1)
        inputs = F.linear(self.dropout(shared), first, self.hidden.bias)[:, None]
        logits = self._logits(inputs + F.linear(self.dropout(each), other))
        mean: Tensor = (state[:, None, :-1] + logits) / (state[:, None, -1:] + 1.0)
        return mean

    def sequence(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips from the zero state; see `RecurrentClassifier.sequence`."""
        each = self._logits(self.hidden(self.dropout(features)))
        states = _counted(each).cumsum(dim=1)
        return states[..., :-1] / states[..., -1:], states

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(hidden.relu()))
        return logits


def _counted(logits: Tensor) -> Tensor:
    """Logits `(..., K)` and a one behind them."""
    return torch.cat([logits, torch.ones_like(logits[..., :1])], dim=-1)


class AveragingClassifier(nn.Module):
    """A linear layer on each patch vector; a clip's logits are their mean.

    The layer is linear, so without dropout the mean of logits is the logits of the mean.

    Args:
        num_features: F of a patch vector.
        num_classes: K.
        dropout: on the patch vectors, while training.
    """

    def __init__(self, num_features: int, num_classes: int, *, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(num_features, num_classes)

    def forward(self, patch_vectors: Tensor) -> Tensor:
        """Whole clips frame by frame, `(N, T, F)`: the frames' mean logits `(N, K)`."""
        logits: Tensor = self.fc(self.dropout(patch_vectors))
        return logits.mean(dim=1)

    def after(self, total: Tensor, count: Tensor) -> Tensor:
        """Logits without dropout.

        Args:
            total: `(..., F)`, the sum of the decisions' mean patch vectors so far.
            count: how many, at least 1; fits `(..., 1)`.

        Returns:
            `(..., K)`.
        """
        logits: Tensor = self.fc(total / count)
        return logits
