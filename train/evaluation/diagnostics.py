"""Where a policy looks: entropy, histogram and movement of its looks, and whether it collapsed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.envs import PatchGrid
from agents.evaluation import Evaluation

# A policy that can choose and spends more than this share of all looks on one position of the grid
# has, for most purposes, stopped choosing.
COLLAPSE_SHARE = 0.5
# The same for one that looks around, but in the same way whatever the video shows.
ROUTINE_SHARE = 0.9


def diagnostics(evaluation: Evaluation, grid: PatchGrid) -> dict[str, Any]:
    """Diagnostics over all episodes and frames.

    Looks at other places than the grid's count for the nearest position. Skipped frames are no
    looks.

    Args:
        evaluation: of one policy.
        grid: the positions.

    Returns:
        `action_entropy_bits` of the positions over all frames, and `max_entropy_bits`, which is
        that of a uniform choice; `location_histogram`, G lines of G shares; `movement_pixels`, mean
        distance between the patches of consecutive frames, 0 for a single frame; `top_position`
        and `top_position_share`, its share of all looks; `same_place_share`, how large a share of
        the videos the commonest position of a frame has, mean over the frames; `collapsed` and
        `routine`, whether the last two pass `COLLAPSE_SHARE` and `ROUTINE_SHARE`.
    """
    positions, focused = nearest_positions(evaluation.boxes, grid), evaluation.focused()
    looks = positions[focused]
    histogram = np.bincount(looks, minlength=grid.num_actions) / max(len(looks), 1)
    per_frame = [
        np.bincount(column[seen]).max() / seen.sum()
        for column, seen in zip(positions.T, focused.T, strict=True)
        if seen.any()
    ] or [0.0]
    top = int(histogram.argmax())
    return {
        "action_entropy_bits": entropy_bits(histogram),
        "max_entropy_bits": float(np.log2(grid.num_actions)),
        "location_histogram": histogram.reshape(grid.grid_size, -1).tolist(),
        "movement_pixels": mean_movement(evaluation.boxes, focused),
        "top_position": top,
        "top_position_share": float(histogram[top]),
        "same_place_share": float(np.mean(per_frame)),
        "collapsed": bool(histogram[top] > COLLAPSE_SHARE),
        "routine": bool(np.mean(per_frame) > ROUTINE_SHARE),
    }


def nearest_positions(boxes: npt.NDArray[np.int64], grid: PatchGrid) -> npt.NDArray[np.int64]:
    """`(E, T)` grid positions of boxes `(E, T, 4)`; of equally near ones the first."""
    size = grid.grid_size
    line = grid.all_offsets().numpy()[:size, 1]  # the columns of the first line
    nearest = np.abs(boxes[..., :2, None] - line).argmin(axis=-1)
    positions: npt.NDArray[np.int64] = nearest[..., 0] * size + nearest[..., 1]
    return positions


def entropy_bits(shares: npt.NDArray[np.float64]) -> float:
    """Entropy of shares that sum to 1, in bits."""
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum()) + 0.0  # no -0.0


def mean_movement(boxes: npt.NDArray[np.int64], focused: npt.NDArray[np.bool_]) -> float:
    """Mean distance in pixels between the boxes `(E, T, 4)` of consecutive frames, both kept."""
    both = focused[:, 1:] & focused[:, :-1]
    if not both.any():
        return 0.0
    return float(np.linalg.norm(np.diff(boxes[..., :2], axis=1), axis=-1)[both].mean())


def diagnostic_warnings(name: str, diagnostics: dict[str, Any]) -> list[str]:
    """What a person should know about a policy that was free to choose."""
    warnings = []
    if diagnostics["collapsed"]:
        warnings.append(
            f"{name} has collapsed: {diagnostics['top_position_share']:.0%} of its looks are at "
            f"position {diagnostics['top_position']} (warned above {COLLAPSE_SHARE:.0%})"
        )
    elif diagnostics["routine"]:
        warnings.append(
            f"{name} looks at the same places whatever the video shows: in a frame "
            f"{diagnostics['same_place_share']:.0%} of the videos get the same position "
            f"(warned above {ROUTINE_SHARE:.0%})"
        )
    return warnings
