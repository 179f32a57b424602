"""RecurrentClassifier: what the clip has shown so far, and which action it is."""

from __future__ import annotations

from torch import Tensor, nn


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

    def sequence(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips from the zero state.

        Args:
            features: `(N, T, F)`.

        Returns:
            logits `(N, T, K)` and states `(N, T, S)` after every step.
        """
        states, _ = self.gru(features)
        return self.fc(self.dropout(states)), states
