"""The `info` of resets and steps, as arrays over rows; the same for one row and for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.envs.actions import PatchChoice
from adafocus_env.envs.core import PatchLocalizationCore
from adafocus_env.envs.outcome import InfoArrays, Outcome


def reset_info(core: PatchLocalizationCore) -> InfoArrays:
    """`(N,)` arrays: `video_index`, `frame_index` (0), `label`; and `skip_cost` if one can skip."""
    video_index = np.array(
        [-1 if s is None else s.video_index for s in core.starts], dtype=np.int64
    )
    info = {
        "video_index": video_index,
        "frame_index": np.zeros(core.num_rows, dtype=np.int64),
        "label": core.labels.numpy(),
    }
    return {**info, "skip_cost": core.skip_costs.numpy().copy()} if core.can_skip else info


def step_info(core: PatchLocalizationCore, outcome: Outcome) -> InfoArrays:
    """Arrays of the outcome's leading shape, `(N,)` for a step and `(N, T)` for whole episodes."""
    shape = outcome.steps.shape
    rows = np.arange(core.num_rows).reshape((-1,) + (1,) * (len(shape) - 1))
    start = {
        name: np.broadcast_to(values[rows], shape).copy()
        for name, values in reset_info(core).items()
    }
    info = {
        **start,
        "frame_index": outcome.steps.numpy(),
        "confidence": outcome.confidences.double().cpu().numpy(),
        "baseline_confidence": outcome.baseline_confidences.double().cpu().numpy(),
        "predicted_label": outcome.predicted_labels.cpu().numpy(),
        "patch_box": PatchChoice(outcome.offsets, outcome.focused)
        .boxes(core.source.patch_size)
        .numpy(),
    }
    return {**info, "skipped": ~outcome.focused.numpy()} if core.can_skip else info


def with_success(info: InfoArrays) -> InfoArrays:
    """The info of last steps: `is_success` says whether the true class was named."""
    return {**info, "is_success": info["predicted_label"] == info["label"]}


def masked(info: InfoArrays, rows: npt.NDArray[np.int64], num_rows: int) -> dict[str, Any]:
    """Gymnasium's vector info: each array, zero outside `rows`, and a `_name` mask of the rows."""
    result: dict[str, Any] = {}
    for name, values in info.items():
        given = np.zeros_like(values)
        given[rows] = values[rows]
        result[name] = given
        result[f"_{name}"] = rows_mask(rows, num_rows)
    return result


def rows_mask(rows: npt.NDArray[np.int64], num_rows: int) -> npt.NDArray[np.bool_]:
    """`(N,)` True in these rows."""
    mask = np.zeros(num_rows, dtype=np.bool_)
    mask[rows] = True
    return mask


def single_info(info: InfoArrays) -> dict[str, Any]:
    """Row 0 as Python numbers and a new `patch_box` array."""
    return {
        name: values[0].copy() if values.ndim > 1 else values[0].item()
        for name, values in info.items()
    }
