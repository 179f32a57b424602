"""LiveFeatures: clips go through the frozen networks when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clip_loader import ClipLoader
from adafocus_env.data.clips import Videos
from adafocus_env.features.judges import Judges
from adafocus_env.features.source import EpisodeStart, RecognizerEpisodes, RecognizerSource
from adafocus_env.networks.frozen import FrozenNetworks
from adafocus_env.networks.loading import AnyRecognizer


class LiveFeatures(RecognizerSource):
    """A split of videos and a recognizer of either family, as a `FeatureSource`.

    A decision serves `recognizer.focus_group` frames of the clip: their patches lie at the same
    place, and the decision's patch vector is the mean of theirs. Its observation holds as many of
    the clip's glances as there are to a decision, side by side on the channel axis.

    Args:
        recognizer: is frozen and put in evaluation mode; its device is used.
        videos: the split. Class names and sizes must be the recognizer's.
        patch_size: side of the patches in pixels; None takes the recognizer's.
        focus_size: side that patches are resized to for the focuser; None leaves them as they are.
        judges: other classifiers, see `Judges`.
        observation: `"map"` or `"vector"` (the pooled map).
        amp: precision of glancer and focuser, see `FrozenNetworks`.
        compile: whether they go through `torch.compile`.
        num_workers: processes that load clips, also ahead; 0 loads them when they are needed.

    Raises:
        ValueError: recognizer and videos do not fit, or a bad argument.
    """

    def __init__(
        self,
        recognizer: AnyRecognizer,
        videos: Videos,
        *,
        patch_size: int | None = None,
        focus_size: int | None = None,
        judges: Judges | None = None,
        observation: str = "map",
        amp: str = "none",
        compile: bool = False,  # noqa: A002  # the name users know
        num_workers: int = 0,
    ):
        if len(videos) == 0:
            raise ValueError("the split has no videos")
        super().__init__(
            recognizer,
            videos,
            num_decisions=videos.num_frames // recognizer.focus_group,
            map_shape=recognizer.observation_shape(),
            patch_size=patch_size,
            judges=judges,
            observation=observation,
        )
        if focus_size is not None and focus_size < 1:
            raise ValueError(f"focus_size must be at least 1, not {focus_size}")
        self.focus_size = focus_size
        mismatch = recognizer.frames_mismatch(videos.num_frames, videos.num_glance_frames)
        if mismatch is not None:
            raise ValueError(mismatch)
        if videos.frame_size != self.frame_size:
            raise ValueError(
                f"the recognizer takes frames of {self.frame_size} pixels, "
                f"the videos give {videos.frame_size}"
            )
        self.networks = FrozenNetworks(recognizer, amp=amp, compile=compile)
        self.clips = ClipLoader(videos, num_workers)

    def open(self, num_rows: int) -> LiveEpisodes:
        """Room for the clips of `num_rows` rows.

        Raises:
            ValueError: there is not enough.
        """
        frames = self.videos.num_frames * 3 * self.frame_size**2
        self._check_room(num_rows, frames + 4 * self.num_decisions * math.prod(self.map_shape))
        return LiveEpisodes(self, num_rows)

    def close(self) -> None:
        """End the processes that load clips."""
        self.clips.close()


class LiveEpisodes(RecognizerEpisodes):
    """N rows of clips on the recognizer's device, with the glances of all their frames."""

    def __init__(self, source: LiveFeatures, num_rows: int):
        super().__init__(source, num_rows)
        size, device = source.frame_size, source.device
        frames = (num_rows, source.videos.num_frames, 3, size, size)
        maps = (num_rows, source.num_decisions, *source.map_shape)
        self._source = source
        self.works_ahead = source.clips.works_ahead
        self._frames = torch.zeros(frames, dtype=torch.uint8, device=device)
        self._glance_maps = torch.zeros(maps, device=device)

    @torch.no_grad()
    def load(self, rows: Sequence[int], starts: Sequence[EpisodeStart]) -> None:
        """Sample the clips, move them to the device, glance at every frame once."""
        source = self._source
        clips = source.clips.load(_keys(starts))
        frames = torch.stack([clip.frames for clip in clips]).to(source.device)
        seen = [clip.glance_frames for clip in clips if clip.glance_frames is not None]
        glance_frames = torch.stack(seen).to(source.device) if seen else frames
        maps, vectors = source.networks.glance(glance_frames.flatten(0, 1))
        shape = (len(clips), source.num_decisions)
        labels = torch.tensor([clip.label for clip in clips])
        shown = [start.video_index for start in starts]
        index = self._show(rows, shown, vectors.reshape(*shape, -1), labels)
        self._glance_maps[index] = maps.reshape(*shape, *source.map_shape)
        self._frames[index] = frames

    def prefetch(self, starts: Sequence[EpisodeStart]) -> None:
        """Let the workers load the clips of coming episodes."""
        self._source.clips.prefetch(_keys(starts))

    def observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Glance maps or vectors of (row, step) pairs; always a copy."""
        stored = self.glance_vectors if self._source.pooled else self._glance_maps
        return stored[rows.to(stored.device), steps.to(stored.device)]

    @torch.no_grad()
    def focus(self, rows: Tensor, steps: Tensor, offsets: Tensor) -> Tensor:
        """Crop and focus, in micro-batches; the mean over the frames of a decision."""
        source, count = self._source, self._frames_per_decision
        first = (rows * source.num_decisions + steps) * count
        index = (first[:, None] + torch.arange(count)).flatten().to(source.device)
        vectors = source.networks.focus(
            self._frames.flatten(0, 1),
            offsets.repeat_interleave(count, dim=0),
            patch_size=source.patch_size,
            index=index,
            focus_size=source.focus_size,
        )
        each: Tensor = vectors.unflatten(0, (-1, count))
        return each.mean(dim=1)

    def frame(self, row: int, step: int) -> npt.NDArray[np.uint8]:
        """One frame as it was loaded."""
        return self._image(self._frames[row], step)


def _keys(starts: Sequence[EpisodeStart]) -> list[tuple[int, int]]:
    return [(start.video_index, start.episode_seed) for start in starts]
