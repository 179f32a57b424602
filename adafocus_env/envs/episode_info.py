"""The `info` of resets and steps, as arrays over rows; the same for one row and for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adafocus_env.envs.core import Outcome, PatchLocalizationCore

InfoArrays = dict[str, npt.NDArray[Any]]


def reset_info(core: PatchLocalizationCore) -> InfoArrays:
    """`(N,)` arrays: `video_index`, `frame_index` (0), `label`."""
    video_index = np.array(
        [-1 if s is None else s.video_index for s in core.starts], dtype=np.int64
    )
    return {
        "video_index": video_index,
        "frame_index": np.zeros(core.num_rows, dtype=np.int64),
        "label": core.labels.numpy(),
    }


def step_info(core: PatchLocalizationCore, outcome: Outcome) -> InfoArrays:
    """Arrays of the outcome's leading shape, `(N,)` for a step and `(N, T)` for whole episodes."""
    shape = outcome.steps.shape
    rows = np.arange(core.num_rows).reshape((-1,) + (1,) * (len(shape) - 1))
    start = reset_info(core)
    patch = torch.full_like(outcome.offsets, core.source.patch_size)
    return {
        "video_index": np.broadcast_to(start["video_index"][rows], shape).copy(),
        "frame_index": outcome.steps.numpy(),
        "label": np.broadcast_to(start["label"][rows], shape).copy(),
        "confidence": outcome.confidences.double().cpu().numpy(),
        "baseline_confidence": outcome.baseline_confidences.double().cpu().numpy(),
        "predicted_label": outcome.predicted_labels.cpu().numpy(),
        "patch_box": torch.cat([outcome.offsets, patch], dim=-1).numpy(),
    }


def with_success(info: InfoArrays) -> InfoArrays:
    """The info of last steps: `is_success` says whether the true class was named."""
    return {**info, "is_success": info["predicted_label"] == info["label"]}


def single_info(info: InfoArrays) -> dict[str, Any]:
    """Row 0 as Python numbers and a new `patch_box` array."""
    return {
        name: values[0].copy() if values.ndim > 1 else values[0].item()
        for name, values in info.items()
    }
