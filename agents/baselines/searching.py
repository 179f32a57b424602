"""Agents of `glyphs_search` that know the layout of the pictures: references for policies.

They read it where the core's videos come from. Observations are the same for all agents, and the
layout is in none of them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.data import Videos
from adafocus_env.data.glyphs.search import CELL, render_search_picture
from adafocus_env.data.glyphs.search_layout import GRID, SearchLayout, search_layout
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.envs import EpisodeCore
from adafocus_env.features import EpisodeStart
from adafocus_env.features.source import RecognizerSource
from adafocus_env.seeding import Purpose, episode_rng
from agents.baselines.oracles import CoreWatcher


class LayoutAgent(CoreWatcher):
    """Base: plans an episode's looks from the layout of its picture and the episode's own chance.

    Args:
        core: the running episodes.

    Raises:
        ValueError: the core takes no grid actions, its videos are not those of `glyphs_search`, or
            the cells are not the grid's positions.
    """

    def __init__(self, core: EpisodeCore):
        super().__init__(core)
        shown = core.grid.grid_size, core.source.patch_size
        if shown != (GRID, CELL):
            raise ValueError(
                f"this policy looks at the cells of glyphs_search, a grid of {GRID}x{GRID} patches "
                f"of {CELL} pixels, but here are {shown[0]}x{shown[0]} of {shown[1]}; set "
                f"grid_size={GRID} (action_dim={GRID**2}) and patch_size={CELL}"
            )
        videos = core.source.videos if isinstance(core.source, RecognizerSource) else None
        self._videos = _of_the_task(videos)
        self._plans: dict[int, tuple[EpisodeStart, npt.NDArray[np.int64]]] = {}

    def looks(self) -> npt.NDArray[Any]:
        """The planned ones of the core's rows at their current steps."""
        steps = self.core.steps.clamp(max=self.core.num_decisions - 1).tolist()
        return np.array([self._planned(row)[step] for row, step in enumerate(steps)])

    @abstractmethod
    def plan(self, layout: SearchLayout, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The cells to look at in an episode of `core.num_decisions` looks, one a look."""

    def _planned(self, row: int) -> npt.NDArray[np.int64]:
        start = self.core.starts[row]
        assert start is not None
        if row not in self._plans or self._plans[row][0] != start:
            layout = search_layout(self._videos.split_seed, start.video_index)
            rng = episode_rng(start.episode_seed, Purpose.ACTION)
            self._plans[row] = start, self.plan(layout, rng)
        return self._plans[row][1]


class ExpertAgent(LayoutAgent):
    """Begins with a random disc, follows the arrows to the digit and keeps looking at it.

    What the best policy could do that recognises every mark: all that it uses of the layout are the
    discs, which a glance shows, and the arrows that it has looked at.
    """

    def plan(self, layout: SearchLayout, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The digit after one to five looks."""
        looks = [rng.choice(layout.cells)]
        while len(looks) < self.core.num_decisions:
            looks.append(layout.next_cell[looks[-1]])
        return np.array(looks)


class RandomDiscs(LayoutAgent):
    """Discs in random order, each once before any comes again: the best that an open loop can do.

    Nothing that is known before the first look tells which disc has the digit.
    """

    def plan(self, layout: SearchLayout, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Whatever they carry."""
        return np.resize(rng.permutation(layout.cells), self.core.num_decisions)


def _of_the_task(videos: Videos | None) -> GlyphVideos:
    """Refuse other videos, whose layouts nobody knows."""
    if isinstance(videos, GlyphVideos) and videos.task.render is render_search_picture:
        return videos
    raise ValueError(
        "expert and random_discs know the pictures of dataset=glyphs_search alone; use "
        "greedy_oracle or random with other videos"
    )
