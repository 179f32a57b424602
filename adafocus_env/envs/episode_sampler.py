"""Which video a row shows next, and with which episode seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adafocus_env.features.source import EpisodeStart
from adafocus_env.seeding import draw_episode_seed

RESET_OPTIONS = ("video_index", "episode_seed")


class EpisodeSampler:
    """One row's walk through the split: a shuffled permutation, drawn anew at each pass.

    Args:
        num_videos: V, videos in the split.
    """

    def __init__(self, num_videos: int):
        self._num_videos = num_videos
        self._order: list[int] = []

    def next(
        self,
        rng: np.random.Generator,
        *,
        video_index: int | None = None,
        episode_seed: int | None = None,
    ) -> EpisodeStart:
        """The next episode.

        One episode seed is always drawn, and an index of the permutation only where none is given,
        so that choosing a video or a seed leaves the other as it was.

        Args:
            rng: the row's own generator.
            video_index: show this video.
            episode_seed: use this seed.
        """
        if video_index is None:
            if not self._order:
                self._order = rng.permutation(self._num_videos)[::-1].tolist()
            video_index = self._order.pop()
        drawn = draw_episode_seed(rng)
        return EpisodeStart(video_index, drawn if episode_seed is None else episode_seed)


def check_reset_options(options: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Refuse options that would be ignored.

    Raises:
        ValueError: an unknown option.
    """
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"unknown reset options {unknown}; known are {', '.join(allowed)}")


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
    given = np.asarray(value)
    expected = "an integer" if num_rows is None else f"an integer or an ({rows},) integer array"
    shapes = [()] if num_rows is None else [(), (rows,)]
    if given.shape not in shapes or given.dtype.kind not in "iu" or (given < 0).any():
        raise ValueError(f"options[{name!r}] must be {expected}, 0 or more, got {value!r}")
    return [int(item) for item in np.broadcast_to(given, (rows,))]
