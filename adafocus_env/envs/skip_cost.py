"""What a look costs where frames can be skipped (AdaFocus+): fixed, or drawn for each episode."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adafocus_env.seeding import Purpose, episode_rng

RANDOM = "random"
# Costs of `skip_cost="random"` lie in [0, this). Those near 0 are drawn more often: between 0 and
# 0.01 lies half of what a policy can save on the built-in digits.
HIGHEST_SKIP_COST = 0.2
_POWER = 3
# About what a later look at the built-in digits is worth: most looks but the decisive ones go.
DEFAULT_SKIP_COST = 0.05


class SkipCost:
    """The price of focusing on a frame, in units of confidence.

    Args:
        cost: a number, 0 or more; or `"random"`: `HIGHEST_SKIP_COST * u**3` with u uniform in
            [0, 1), drawn from each episode's seed.

    Attributes:
        is_random: whether it differs between episodes, so that observations must show it.

    Raises:
        ValueError: neither.
    """

    def __init__(self, cost: float | str):
        self.is_random = cost == RANDOM
        if not self.is_random:
            check_skip_cost(cost)
        self._fixed = 0.0 if self.is_random else float(cost)

    def of_episode(self, episode_seed: int) -> float:
        """The price of each look of an episode."""
        if not self.is_random:
            return self._fixed
        level = float(episode_rng(episode_seed, Purpose.SKIP_COST).random())
        return HIGHEST_SKIP_COST * level**_POWER


def check_skip_cost(cost: object) -> float:
    """A price of looks.

    Raises:
        ValueError: no number, below 0, or not finite.
    """
    return _price(cost, "skip_cost is a number, 0 or more, or 'random'")


def check_look_cost(cost: object) -> float:
    """The price of a look in a closed loop, in units of its reward.

    Raises:
        ValueError: no number, below 0, or not finite.
    """
    return _price(cost, "look_cost is a number, 0 or more")


def _price(cost: object, rule: str) -> float:
    number = isinstance(cost, (int, float)) and not isinstance(cost, bool)
    if not number or not math.isfinite(cost) or cost < 0:  # type: ignore[arg-type,operator]
        raise ValueError(f"{rule}, not {cost!r}")
    return float(cost)  # type: ignore[arg-type]


def cost_at(levels: Tensor) -> Tensor:
    """The inverse of `cost_level`."""
    return HIGHEST_SKIP_COST * levels**_POWER


def cost_level(skip_costs: Tensor) -> Tensor:
    """Costs as 0 to 1, evenly spread where they are drawn at random; 1 for all above."""
    return (skip_costs / HIGHEST_SKIP_COST).clamp(0.0, 1.0) ** (1.0 / _POWER)


def append_cost(glances: Tensor, skip_costs: Tensor, bound: float) -> Tensor:
    """Glances that show the price of a look: one constant channel more, scaled to their bounds.

    Args:
        glances: `(M, C, h, w)` maps or `(M, C)` vectors in `[0, bound]`.
        skip_costs: `(M,)`.
        bound: of the glances.

    Returns:
        `(M, C + 1, h, w)` or `(M, C + 1)`.
    """
    levels = (bound * cost_level(skip_costs)).to(glances.device, glances.dtype)
    shape = (len(glances), 1, *glances.shape[2:])
    channel = levels.view(-1, *[1] * (glances.dim() - 1)).expand(shape)
    return torch.cat([glances, channel], dim=1)
