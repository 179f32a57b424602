"""Which video a row shows next, and with which episode seed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from adafocus_env.features.source import EpisodeStart
from adafocus_env.seeding import draw_episode_seed


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


class RowSamplers:
    """The samplers of N rows, each with its own generator, and the videos scheduled for them.

    Args:
        num_videos: V, videos in the split.
        num_rows: N.
    """

    def __init__(self, num_videos: int, num_rows: int):
        self._num_videos = num_videos
        self._samplers = [EpisodeSampler(num_videos) for _ in range(num_rows)]
        self._rngs: list[np.random.Generator | None] = [None] * num_rows
        self._scheduled: list[int | None] = [None] * num_rows

    def seed(self, rows: Iterable[int], seeds: Sequence[int | None]) -> None:
        """Begin anew, with these seeds, one for each of the N rows.

        A row without one goes on; one that has not begun takes a seed of the system.
        """
        for row in rows:
            if seeds[row] is not None or self._rngs[row] is None:
                self._rngs[row] = seeding.np_random(seeds[row])[0]
                self._samplers[row] = EpisodeSampler(self._num_videos)

    def next(
        self,
        rows: Iterable[int],
        video_indices: Sequence[int | None] | None = None,
        episode_seeds: Sequence[int | None] | None = None,
    ) -> list[EpisodeStart]:
        """The next episodes of some rows: those named, else those scheduled, else each row's own.

        Args:
            rows: which.
            video_indices: for each of the N rows, the video to show.
            episode_seeds: for each of the N rows, the seed to use.
        """
        starts = []
        for row in rows:
            index = None if video_indices is None else video_indices[row]
            if index is None:
                index, self._scheduled[row] = self._scheduled[row], None
            seed = None if episode_seeds is None else episode_seeds[row]
            rng = self._rngs[row]
            assert rng is not None
            starts.append(self._samplers[row].next(rng, video_index=index, episode_seed=seed))
        return starts

    def schedule(self, video_indices: Sequence[int]) -> None:
        """Say which videos the next episodes show; used once for every row."""
        self._scheduled = list(video_indices)

    def coming(self) -> list[EpisodeStart]:
        """What `next` will say of all rows, unless seeds or options change; nothing is drawn."""
        if None in self._rngs:
            return []
        return copy.deepcopy(self).next(range(len(self._rngs)))

    def states(self) -> list[dict[str, Any]]:
        """What each row will draw, of JSON types."""
        return [
            {"random": rng.bit_generator.state, "order": sampler.order}
            for rng, sampler in zip(self._rngs, self._samplers, strict=True)
            if rng is not None
        ]

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Go on as the rows did whose `states` these are; nothing is scheduled."""
        for row, state in enumerate(states):
            rng = np.random.default_rng()
            rng.bit_generator.state = state["random"]
            self._rngs[row] = rng
            self._samplers[row] = EpisodeSampler(self._num_videos, state["order"])
        self._scheduled = [None] * len(states)
