"""The `info` of resets and steps, as arrays over rows; the same for one row and for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adafocus_env.envs.actions import PatchChoice
from adafocus_env.envs.closed_loop import ActiveVisionCore
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.outcome import InfoArrays, Outcome

Rows = npt.NDArray[np.int64]


def reset_info(core: EpisodeCore, rows: Rows) -> InfoArrays:
    """`(M,)` arrays: `video_index`, `frame_index` (0), `label`; and `skip_cost` if one can skip.

    Args:
        core: the episodes.
        rows: `(M,)`, which have begun.
    """
    starts = [core.starts[row] for row in rows]
    info = {
        "video_index": np.array([s.video_index for s in starts if s is not None], dtype=np.int64),
        "frame_index": np.zeros(len(rows), dtype=np.int64),
        "label": core.labels.numpy()[rows],
    }
    return {**info, "skip_cost": core.skip_costs.numpy()[rows]} if core.can_skip else info


def step_info(core: EpisodeCore, outcome: Outcome, rows: Rows) -> InfoArrays:
    """Arrays of the outcome's leading shape, `(M,)` for a step and `(M, T)` for whole episodes.

    Args:
        core: the episodes.
        outcome: of the step, or the episodes.
        rows: `(M,)`, whose it is.
    """
    shape = outcome.steps.shape
    start = {
        name: np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
        for name, values in reset_info(core, rows).items()
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
    if isinstance(core, ActiveVisionCore):
        info["multiply_adds"] = core.multiply_adds[torch.from_numpy(rows)].numpy()
    return {**info, "skipped": ~outcome.focused.numpy()} if core.can_skip else info


def with_success(info: InfoArrays) -> InfoArrays:
    """The info of last steps: `is_success` says whether the true class was named."""
    return {**info, "is_success": info["predicted_label"] == info["label"]}


def put_rows(infos: dict[str, Any], info: InfoArrays, rows: Rows, num_rows: int) -> None:
    """Add to Gymnasium's vector info: arrays `(N, ...)`, and a `_name` mask of those that count.

    Args:
        infos: of the step; is changed.
        info: `(M, ...)` arrays.
        rows: `(M,)`, whose they are.
        num_rows: N.
    """
    for name, values in info.items():
        if name not in infos:
            infos[name] = np.zeros((num_rows, *values.shape[1:]), dtype=values.dtype)
            infos[f"_{name}"] = np.zeros(num_rows, dtype=np.bool_)
        infos[name][rows] = values
        infos[f"_{name}"][rows] = True


def single_info(info: InfoArrays) -> dict[str, Any]:
    """The only row as Python numbers and a new `patch_box` array."""
    return {
        name: values[0].copy() if values.ndim > 1 else values[0].item()
        for name, values in info.items()
    }
