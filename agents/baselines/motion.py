"""MotionAgent: looks where the picture changes most."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.envs import EpisodeCore
from agents.baselines.shown import check_rows
from agents.baselines.simple import FrameCountingAgent, actions_of_positions


class MotionAgent(FrameCountingAgent):
    """The patch in which a frame differs most from the sampled frame before.

    Nothing is learned for it and it knows no label; it is hard to beat where the camera stands
    still. A position's score is the sum of the absolute differences of grey values under its patch;
    the first of equal positions is taken. The first frame is compared with the second one, so in
    that frame it knows more than a policy could; a clip of one frame is looked at in the first
    position.

    It sees the frames of the core's rows, so it must be asked from their first frame on. A bank
    holds none: then the videos are read.

    Args:
        core: the running episodes.
    """

    def __init__(self, core: EpisodeCore):
        self._core = core
        self._frames = core.num_decisions // core.looks_per_frame
        self._plan = np.zeros((core.num_rows, self._frames), np.int64)

    def looks(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Planned for the whole clip at a row's first look; all looks at a frame are the same.

        Raises:
            ValueError: asked about another number of rows than the core's.
        """
        check_rows(self._core, len(frames))
        rows = np.arange(len(frames))
        for row in rows[frames == 0].tolist():
            self._plan[row] = self._planned(row)
        shown = (frames // self._core.looks_per_frame).clip(max=self._frames - 1)
        return actions_of_positions(self._core, self._plan[rows, shown])

    def _planned(self, row: int) -> npt.NDArray[np.int64]:
        """`(T,)` positions for the clip in a row."""
        core = self._core
        clip = np.stack([core.features.frame(row, step) for step in range(self._frames)])
        grey = torch.from_numpy(clip).double().mean(dim=3)
        offsets, size = core.grid.all_offsets(), core.source.patch_size
        scores = patch_sums(frame_differences(grey), offsets, patch_size=size)
        return scores.argmax(dim=1).numpy()


def frame_differences(frames: Tensor) -> Tensor:
    """`(T, H, W)` absolute differences to the frame before; of the first frame to the second."""
    if len(frames) == 1:
        return torch.zeros_like(frames)
    changes = frames.diff(dim=0).abs()
    return torch.cat([changes[:1], changes])


def patch_sums(maps: Tensor, offsets: Tensor, *, patch_size: int) -> Tensor:
    """`(T, A)` sums over the patches at `(A, 2)` (top, left) offsets of maps `(T, H, W)`."""
    sums = torch.nn.functional.pad(maps.cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))
    (top, left), (bottom, right) = offsets.T, (offsets + patch_size).T
    return sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left]
