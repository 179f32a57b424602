"""What a policy makes of glances before it decides: their scale, features, and memory's start."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlanceScale(nn.Module):
    """Mean and standard deviation of each channel, to see observations without their scale.

    Args:
        shape: `(C, h, w)` or `(C,)` of one observation.
        standardize: False leaves observations as they are, which saves a copy of all of them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...], *, standardize: bool):
        super().__init__()
        self._standardize = standardize
        per_channel = (1, shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("mean", torch.zeros(per_channel))
        self.register_buffer("std", torch.ones(per_channel))

    def fit_scale(self, observations: Tensor) -> None:
        """Set mean and standard deviation of each channel from observations `(N, ...)`."""
        axes = [axis for axis in range(observations.dim()) if axis != 1]
        self.mean.copy_(observations.mean(dim=axes, keepdim=True))
        # A channel that never changes keeps its scale instead of being blown up.
        std = observations.std(dim=axes, keepdim=True)
        self.std.copy_(torch.where(std > 1e-4, std, torch.ones_like(std)))

    def scaled(self, observations: Tensor) -> Tensor:
        """Observations `(..., C, h, w)` or `(..., C)` without their scale, if that is wanted."""
        return (observations - self.mean).div_(self.std) if self._standardize else observations


class GlanceMapEncoder(GlanceScale):
    """A glance map (or vector) to `hidden_dim` features: the published trunk of the policy.

    For maps: standardise, 1x1 convolution to `channels`, ReLU, flatten, linear, ReLU. For vectors
    the convolution is left out. Batch normalisation, published for Something-Something, stands
    before either ReLU.

    Args:
        shape: `(C, h, w)` or `(C,)` of one observation.
        channels: output of the 1x1 convolution.
        hidden_dim: size of the features.
        standardize: as of `GlanceScale`.
        batch_norm: normalise after the convolution and after the linear layer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        channels: int = 32,
        hidden_dim: int = 1024,
        standardize: bool = False,
        batch_norm: bool = False,
    ):
        super().__init__(shape, standardize=standardize)
        inputs = shape[0]
        self.convolution: nn.Module = nn.Identity()
        if len(shape) == 3:
            norm = [nn.BatchNorm2d(channels)] if batch_norm else []
            convolution = nn.Conv2d(inputs, channels, 1, bias=False)
            self.convolution = nn.Sequential(convolution, *norm, nn.ReLU())
            inputs = channels * shape[1] * shape[2]
        after = [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
        self.linear = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden_dim), *after, nn.ReLU())

    def encode(self, scaled: Tensor) -> Tensor:
        """What `scaled` gives, `(N, ...)`, to `(N, hidden_dim)`."""
        features: Tensor = self.linear(self.convolution(scaled))
        return features

    def forward(self, observations: Tensor) -> Tensor:
        """`(N, ...)` to `(N, hidden_dim)`."""
        return self.encode(self.scaled(observations))


def init_reactive(gru: nn.GRU) -> None:
    """Orthogonal weights with which a GRU at first hardly remembers.

    The update gate lets the new frame in, and memory grows where it pays. Otherwise what is learned
    at the first frame, where most of the reward is, hardly carries over to frames seen with a state
    that is not zero.
    """
    input_weight, state_weight, input_bias, state_bias = gru.parameters()
    nn.init.orthogonal_(input_weight)
    nn.init.orthogonal_(state_weight, gain=0.1)
    nn.init.zeros_(input_bias)
    nn.init.zeros_(state_bias)
    with torch.no_grad():
        input_bias[gru.hidden_size : 2 * gru.hidden_size] = -2.0
