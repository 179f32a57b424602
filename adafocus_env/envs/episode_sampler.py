"""Which video a row shows next, and with which episode seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adafocus_env.envs.skip_cost import check_skip_cost
from adafocus_env.features.source import EpisodeStart
from adafocus_env.seeding import draw_episode_seed

_OPTIONS = ("video_index", "episode_seed")


class EpisodeSampler:
    """One row's walk through the split: a shuffled permutation, drawn anew at each pass.

    Args:
        num_videos: V, videos in the split.
        order: what is left of a pass that has begun.
    """

    def __init__(self, num_videos: int, order: Sequence[int] = ()):
        self._num_videos = num_videos
        self._order = list(order)

    @property
    def order(self) -> list[int]:
        """What is left of the pass; the last is shown next."""
        return list(self._order)

    def next(
        self,
        rng: np.random.Generator,
        *,
        video_index: int | None = None,
        episode_seed: int | None = None,
    ) -> EpisodeStart:
        """The next episode.

        The permutation is drawn whenever none is left, and one episode seed always, so that naming
        a video or a seed leaves everything else as it was; a named video takes no index.

        Args:
            rng: the row's own generator.
            video_index: show this video.
            episode_seed: use this seed.
        """
        if not self._order:
            self._order = rng.permutation(self._num_videos)[::-1].tolist()
        if video_index is None:
            video_index = self._order.pop()
        drawn = draw_episode_seed(rng)
        return EpisodeStart(video_index, drawn if episode_seed is None else episode_seed)


def reset_options(*, can_skip: bool) -> tuple[str, ...]:
    """The names of the options of a reset."""
    return (*_OPTIONS, "skip_cost") if can_skip else _OPTIONS


def check_reset_options(options: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Refuse options that would be ignored.

    Raises:
        ValueError: an unknown option.
    """
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"unknown reset options {unknown}; known are {', '.join(allowed)}")


def cost_option(value: object, num_rows: int = 1) -> list[float | None]:
    """The reset option `skip_cost` as one number a row (None: not given).

    Args:
        value: a number, an `(N,)` array of numbers, or None.
        num_rows: N.

    Raises:
        ValueError: no number, below 0, or an array of another shape.
    """
    if value is None:
        return [None] * num_rows
    given = np.asarray(value)
    if given.shape not in [(), (num_rows,)] or given.dtype.kind not in "fiu":
        raise ValueError(f"options['skip_cost'] must be a number or {num_rows}, got {value!r}")
    return [check_skip_cost(item) for item in np.broadcast_to(given, (num_rows,)).tolist()]


def integer_option(name: str, value: object, num_rows: int | None = None) -> list[int | None]:
    """A reset option as one integer a row (None: not given).

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
