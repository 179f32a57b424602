"""From a policy's outputs to actions: a choice among grid positions, or a Gaussian location.

A head belongs to an action space and makes a distribution of what a network puts out. Both kinds
draw from given uniforms, so a rollout's draws do not depend on how it is collected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Categorical, Normal

# Half the distance between the numbers that torch.rand gives in float32: 0 would be minus infinity.
_SMALLEST_UNIFORM = 2.0**-25


class ActionDistribution(Protocol):
    """Of the actions of a batch of steps `(...)`; an action has the shape `(...)` or `(..., 2)`."""

    def draw(self, uniforms: Tensor) -> Tensor:
        """Actions by inverse CDF of uniforms in [0, 1), of the actions' shape."""
        ...

    def best(self) -> Tensor:
        """The actions that are taken in evaluation."""
        ...

    def log_prob(self, actions: Tensor) -> Tensor:
        """`(...)` of actions as `draw` gives them."""
        ...

    def entropy(self) -> Tensor:
        """`(...)` in nats."""
        ...


class ActionHead(Protocol):
    """What an action space makes of a policy.

    Attributes:
        num_outputs: of the network.
        uniform_shape: uniforms that one action is drawn from.
    """

    num_outputs: int
    uniform_shape: tuple[int, ...]

    def distribution(self, outputs: Tensor) -> ActionDistribution:
        """Of the network's outputs `(..., num_outputs)`."""
        ...

    def within_bounds(self, actions: Tensor) -> Tensor:
        """Drawn actions as the environment takes them."""
        ...


@dataclass(frozen=True)
class PolicyStep:
    """What the policy does in one step of N rows.

    Attributes:
        actions: `(N,)` int64, or `(N, 2)` as drawn, which may lie outside the frame.
        values: `(N,)`.
        log_probs: `(N,)` of the actions.
        policy_state: `(N, S)` after the step.
    """

    actions: Tensor
    values: Tensor
    log_probs: Tensor
    policy_state: Tensor


def make_action_head(
    space: spaces.Space[Any], *, clamp_probs: bool, action_std: float, clip_log_probs: bool
) -> ActionHead:
    """The head for a grid or for continuous locations; the arguments are those of both.

    Raises:
        ValueError: another space, or a standard deviation that is not positive.
    """
    if isinstance(space, spaces.Discrete):
        return GridHead(int(space.n), clamp_probs=clamp_probs)
    if space == spaces.Box(0.0, 1.0, (2,), np.float32):
        return LocationHead(action_std, clip_log_probs=clip_log_probs)
    raise ValueError(
        "GruActorCriticPolicy acts on a Discrete grid or in Box(0, 1, (2,)), which are the "
        f"locations of the environments, not in {space}"
    )


class GridDistribution(Categorical):
    """Choices among A positions; actions are int64."""

    def draw(self, uniforms: Tensor) -> Tensor:
        """Where the cumulated probabilities pass the uniforms."""
        return inverse_cdf(self.probs, uniforms)

    def best(self) -> Tensor:
        """The most probable actions."""
        return self.logits.argmax(dim=-1)


class GridHead:
    """Logits of A positions.

    Args:
        num_actions: A.
        clamp_probs: log-probabilities of the softmax clamped to float32's resolution, as published;
            False is log-softmax, which differs below 1e-7.
    """

    uniform_shape: tuple[int, ...] = ()

    def __init__(self, num_actions: int, *, clamp_probs: bool):
        self.num_outputs = num_actions
        self._clamp_probs = clamp_probs

    def distribution(self, outputs: Tensor) -> GridDistribution:
        """Of logits `(..., A)`."""
        if self._clamp_probs:
            return GridDistribution(probs=outputs.softmax(dim=-1), validate_args=False)
        return GridDistribution(logits=outputs, validate_args=False)

    def within_bounds(self, actions: Tensor) -> Tensor:
        """The actions: each is a position."""
        return actions


class LocationDistribution:
    """Independent Gaussians of row and column with a common standard deviation.

    Actions are samples, which may lie outside the frame; `LocationHead.within_bounds` brings them
    in.

    Args:
        mean: `(..., 2)`.
        std: of both coordinates.
        clip_log_probs: as of `LocationHead`.
    """

    def __init__(self, mean: Tensor, std: float, *, clip_log_probs: bool):
        self.mean = mean
        self._normal = Normal(mean, std, validate_args=False)
        self._clip_log_probs = clip_log_probs

    def draw(self, uniforms: Tensor) -> Tensor:
        """Samples `(..., 2)`."""
        samples: Tensor = self._normal.icdf(uniforms.clamp(min=_SMALLEST_UNIFORM))
        return samples

    def best(self) -> Tensor:
        """The means `(..., 2)`, which lie inside the frame."""
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        """`(...)` densities of samples `(..., 2)`, or of where they end up."""
        if self._clip_log_probs:
            actions = actions.clamp(0.0, 1.0)
        log_probs: Tensor = self._normal.log_prob(actions).sum(dim=-1)
        return log_probs

    def entropy(self) -> Tensor:
        """`(...)`, the same everywhere: of a fixed standard deviation."""
        entropy: Tensor = self._normal.entropy().sum(dim=-1)
        return entropy


class LocationHead:
    """Means by sigmoid, and a fixed standard deviation, as published.

    Args:
        std: of row and column, as fractions of the free range.
        clip_log_probs: take log-probabilities at the clipped samples, as published. They are
            densities of a distribution that has not been drawn from, so the gradient is biased
            towards the border; False takes them at the samples.

    Raises:
        ValueError: the standard deviation is not positive.
    """

    num_outputs = 2
    uniform_shape: tuple[int, ...] = (2,)

    def __init__(self, std: float, *, clip_log_probs: bool):
        if not std > 0.0:
            raise ValueError(f"action_std must be positive, not {std}")
        self._std = std
        self._clip_log_probs = clip_log_probs

    def distribution(self, outputs: Tensor) -> LocationDistribution:
        """Of outputs `(..., 2)` before the sigmoid."""
        return LocationDistribution(
            outputs.sigmoid(), self._std, clip_log_probs=self._clip_log_probs
        )

    def within_bounds(self, actions: Tensor) -> Tensor:
        """Samples clipped to the frame."""
        return actions.clamp(0.0, 1.0)


def inverse_cdf(probs: Tensor, uniforms: Tensor) -> Tensor:
    """The action at which the cumulated probabilities pass `uniforms`.

    Args:
        probs: `(..., A)`, each summing to 1.
        uniforms: `(...)` in [0, 1).

    Returns:
        `(...)` int64. The same uniforms give the same actions whether steps or whole episodes are
        drawn.
    """
    cumulated = probs.cumsum(dim=-1)
    # Rounding can leave the last sum below a uniform close to 1.
    below = (cumulated <= uniforms[..., None] * cumulated[..., -1:]).sum(dim=-1)
    return below.clamp(max=probs.shape[-1] - 1)
