"""Frames that a supervised stage leaves out at random, so that the classifier knows zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from adafocus_env.envs.skip_cost import RANDOM, cost_at

_FRAME, _CLIP = 2, 3  # columns of a batch's uniforms


def frames_focused(uniforms: Tensor, skip_rate: float | str | None) -> Tensor:
    """`(N, T)` bool: which frames keep their patches.

    Args:
        uniforms: `(N, T, 4)` of a `Batch`.
        skip_rate: share of the frames that are skipped; `"random"` is another in each clip, uniform
            in [0, 1); None skips none.
    """
    if skip_rate is None:
        return torch.ones(uniforms.shape[:2], dtype=torch.bool)
    rate = uniforms[..., _CLIP] if isinstance(skip_rate, str) else skip_rate
    kept: Tensor = uniforms[..., _FRAME] >= rate
    return kept


def clip_costs(uniforms: Tensor, skip_cost: float | str | None) -> Tensor:
    """`(N,)` costs of looks for a policy that must know them; None is random, as when it learned.

    Args:
        uniforms: `(N, T, 4)` of a `Batch`.
        skip_cost: a number, `"random"` or None.
    """
    if skip_cost is None or skip_cost == RANDOM:
        return cost_at(uniforms[:, 0, _CLIP])
    return torch.full((len(uniforms),), float(skip_cost), dtype=torch.float64)
