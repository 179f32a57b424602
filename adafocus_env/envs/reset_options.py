"""The options of a reset: named videos, seeds and costs, and which rows begin anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.envs.skip_cost import check_skip_cost


@dataclass(frozen=True)
class ResetOptions:
    """What a reset was asked for, one entry a row; None where nothing was.

    Attributes:
        rows: that begin anew, `(M,)` int64.
        video_indices: of the videos to show.
        episode_seeds: of what is random in the episodes.
        skip_costs: prices of looks.
    """

    rows: npt.NDArray[np.int64]
    video_indices: list[int | None]
    episode_seeds: list[int | None]
    skip_costs: list[float | None]


def read_reset_options(
    options: Mapping[str, Any] | None, *, num_rows: int | None, can_skip: bool
) -> ResetOptions:
    """Check the options of a reset.

    Args:
        options: as given to `reset`.
        num_rows: N of a vector environment, which takes `(N,)` arrays and `reset_mask` too; None
            for a single one.
        can_skip: whether there is an action that skips, and so a cost of looks.

    Raises:
        ValueError: an unknown option, or one of another type, range or shape.
        TypeError: `reset_mask` is no boolean array, or the options are no mapping.
    """
    if not isinstance(options, Mapping | None):
        raise TypeError(f"options={options!r} must be a mapping such as {{'video_index': 3}}")
    given = dict(options or {})
    known = ["video_index", "episode_seed"]
    known += ["skip_cost"] * can_skip + ["reset_mask"] * (num_rows is not None)
    unknown = sorted(map(str, given.keys() - set(known)))
    if unknown:
        raise ValueError(f"unknown reset options {unknown}; known are {', '.join(known)}")
    return ResetOptions(
        _masked_rows(given.get("reset_mask"), num_rows or 1),
        integer_option("video_index", given.get("video_index"), num_rows),
        integer_option("episode_seed", given.get("episode_seed"), num_rows),
        _cost_option(given.get("skip_cost"), num_rows or 1),
    )


def integer_option(name: str, value: object, num_rows: int | None = None) -> list[int | None]:
    """A reset option as one integer a row.

    Args:
        name: for the message.
        value: an integer, an `(N,)` integer array where `num_rows` is given, or None.
        num_rows: N of a vector environment; None for a single one.

    Raises:
        ValueError: no integer, negative, or an array of another shape.
    """
    rows = num_rows or 1
    if value is None:
        return [None] * rows
    # Objects: a list of 64-bit seeds would otherwise become floats.
    given = np.asarray(value, dtype=object)
    expected = "an integer" if num_rows is None else f"an integer or an ({rows},) integer array"
    shapes = [()] if num_rows is None else [(), (rows,)]
    items = np.broadcast_to(given, (rows,)).tolist() if given.shape in shapes else []
    if not items or not all(_is_seed_or_index(item) for item in items):
        raise ValueError(f"options[{name!r}] must be {expected}, 0 or more, got {value!r}")
    return [int(item) for item in items]


def _is_seed_or_index(item: object) -> bool:
    if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
        return False
    return 0 <= int(item) < 2**64


def _cost_option(value: object, num_rows: int) -> list[float | None]:
    """A number, or `(N,)` numbers; 0 or more."""
    if value is None:
        return [None] * num_rows
    given = np.asarray(value)
    if given.shape not in [(), (num_rows,)] or given.dtype.kind not in "fiu":
        raise ValueError(f"options['skip_cost'] must be a number or {num_rows}, got {value!r}")
    return [check_skip_cost(item) for item in np.broadcast_to(given, (num_rows,)).tolist()]


def _masked_rows(mask: object, num_rows: int) -> npt.NDArray[np.int64]:
    """The rows of `reset_mask`, under Gymnasium's own contract; all without one."""
    if mask is None:
        return np.arange(num_rows)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a boolean numpy array, got {mask!r}")
    if mask.shape != (num_rows,):
        raise ValueError(f"options['reset_mask'] must have shape ({num_rows},), got {mask.shape}")
    if not mask.any():
        raise ValueError("options['reset_mask'] must mark at least one row")
    return np.flatnonzero(mask)
