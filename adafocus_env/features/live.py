"""LiveFeatures: clips go through the frozen networks when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clip_loader import ClipLoader
from adafocus_env.data.clips import Videos
from adafocus_env.features.clip_classifier import clip_classifier
from adafocus_env.features.source import EpisodeStart
from adafocus_env.networks.frozen import FrozenNetworks
from adafocus_env.networks.glancer import freeze
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.networks.recognizer_base import class_mismatch


class LiveFeatures:
    """A split of videos and a recognizer of either family, as a `FeatureSource`.

    A decision serves `recognizer.focus_group` frames of the clip: their patches lie at the same
    place, and the decision's patch vector is the mean of theirs. Its observation holds as many of
    the clip's glances as there are to a decision, side by side on the channel axis.

    Args:
        recognizer: is frozen and put in evaluation mode; its device is used.
        videos: the split. Class names and sizes must be the recognizer's.
        patch_size: side of the patches in pixels; None takes the recognizer's.
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
        observation: str = "map",
        amp: str = "none",
        compile: bool = False,  # noqa: A002  # the name users know
        num_workers: int = 0,
    ):
        config = recognizer.config
        _check_fit(recognizer, videos)
        if observation not in ("map", "vector"):
            raise ValueError(f"observation is 'map' or 'vector', not {observation!r}")
        freeze(recognizer)
        self.recognizer = recognizer
        self.networks = FrozenNetworks(recognizer, amp=amp, compile=compile)
        self.videos = videos
        self.clips = ClipLoader(videos, num_workers)
        self.num_videos = len(videos)
        self.frames_per_decision = recognizer.focus_group
        self.num_decisions = videos.num_frames // self.frames_per_decision
        self.class_names = tuple(videos.class_names)  # the recognizer's may be placeholders
        self.frame_size = config.frame_size
        self.patch_size = config.patch_size if patch_size is None else patch_size
        if not 0 < self.patch_size <= self.frame_size:
            raise ValueError(f"patch_size must be in 1..{self.frame_size}, not {self.patch_size}")
        self.map_shape = recognizer.observation_shape()
        self.pooled = observation == "vector"
        self.observation_shape: tuple[int, ...] = (
            self.map_shape[:1] if self.pooled else self.map_shape
        )
        self.observation_bound = float(recognizer.glancer.map_bound)
        self.num_patch_features = recognizer.focuser.num_features
        self.classifier = clip_classifier(recognizer)
        self.state_size = self.classifier.state_size
        self.device = recognizer.device

    def open(self, num_rows: int) -> LiveEpisodes:
        """Room for the clips of `num_rows` rows."""
        return LiveEpisodes(self, num_rows)


class LiveEpisodes:
    """N rows of clips on the recognizer's device, with the glances of all their frames."""

    def __init__(self, source: LiveFeatures, num_rows: int):
        size, device = source.frame_size, source.device
        shape = (num_rows, source.num_decisions)
        frames = (num_rows, source.videos.num_frames, 3, size, size)
        self._source = source
        self._frames = torch.zeros(frames, dtype=torch.uint8, device=device)
        self._glance_maps = torch.zeros((*shape, *source.map_shape), device=device)
        self._glance_vectors = torch.zeros((*shape, source.map_shape[0]), device=device)
        self._context = torch.zeros_like(source.classifier.context(self._glance_vectors))
        self.labels = torch.zeros(num_rows, dtype=torch.int64, device=device)

    @torch.no_grad()
    def load(self, rows: Sequence[int], starts: Sequence[EpisodeStart]) -> None:
        """Sample the clips, move them to the device, glance at every frame once."""
        source = self._source
        clips = source.clips.load(_keys(starts))
        index = torch.as_tensor(list(rows), device=source.device)
        frames = torch.stack([clip.frames for clip in clips]).to(source.device)
        self._frames[index] = frames
        self.labels[index] = torch.tensor([clip.label for clip in clips], device=source.device)
        seen = [clip.glance_frames for clip in clips if clip.glance_frames is not None]
        glance_frames = torch.stack(seen).to(source.device) if seen else frames
        glance_maps, glance_vectors = source.networks.glance(glance_frames.flatten(0, 1))
        shape = (len(clips), source.num_decisions)
        vectors = glance_vectors.reshape(*shape, -1)
        self._glance_maps[index] = glance_maps.reshape(*shape, *source.map_shape)
        self._glance_vectors[index] = vectors
        self._context[index] = source.classifier.context(vectors)

    @property
    def works_ahead(self) -> bool:
        """Whether there are workers."""
        return self._source.clips.works_ahead

    def prefetch(self, starts: Sequence[EpisodeStart]) -> None:
        """Let the workers load the clips of coming episodes."""
        self._source.clips.prefetch(_keys(starts))

    def observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Glance maps or vectors of (row, step) pairs; always a copy."""
        stored = self._glance_vectors if self._source.pooled else self._glance_maps
        return stored[rows.to(stored.device), steps.to(stored.device)]

    @torch.no_grad()
    def focus(self, rows: Tensor, steps: Tensor, offsets: Tensor) -> Tensor:
        """Crop and focus, in micro-batches; the mean over the frames of a decision."""
        source, count = self._source, self._source.frames_per_decision
        first = (rows * source.num_decisions + steps) * count
        index = (first[:, None] + torch.arange(count)).flatten().to(source.device)
        vectors = source.networks.focus(
            self._frames.flatten(0, 1),
            offsets.repeat_interleave(count, dim=0),
            patch_size=source.patch_size,
            index=index,
        )
        each: Tensor = vectors.unflatten(0, (-1, count))
        return each.mean(dim=1)

    @torch.no_grad()
    def classify(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision of (row, step) pairs."""
        context = self._context[rows.to(state.device), steps.to(state.device)]
        return self._source.classifier.step(context, patch_vectors, steps, state)

    @torch.no_grad()
    def classify_each(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> Tensor:
        """One decision of (row, step) pairs under several patches."""
        context = self._context[rows.to(state.device), steps.to(state.device)]
        return self._source.classifier.each(context, patch_vectors, steps, state)

    @torch.no_grad()
    def classify_sequence(self, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All decisions of all rows."""
        return self._source.classifier.sequence(self._context, patch_vectors)

    def frame(self, row: int, step: int) -> npt.NDArray[np.uint8]:
        """One frame as `(H, W, 3)` uint8 RGB: the middle one of a decision's."""
        chosen = middle_frame(self._frames[row], step, self._source.frames_per_decision)
        image: npt.NDArray[np.uint8] = chosen.permute(1, 2, 0).cpu().numpy().copy()
        return image


def middle_frame(frames: Tensor, step: int, frames_per_decision: int) -> Tensor:
    """The frame `(3, H, W)` of a clip `(T, 3, H, W)` that stands for a decision."""
    return frames[step * frames_per_decision + frames_per_decision // 2]


def _keys(starts: Sequence[EpisodeStart]) -> list[tuple[int, int]]:
    return [(start.video_index, start.episode_seed) for start in starts]


def _num_glance_frames(videos: Videos) -> int | None:
    # Videos of a user's own may have been written before there were clips with glance frames.
    return getattr(videos, "num_glance_frames", None)


def _check_fit(recognizer: AnyRecognizer, videos: Videos) -> None:
    config = recognizer.config
    for mismatch in (
        class_mismatch(config, videos.class_names),
        recognizer.frames_mismatch(videos.num_frames, _num_glance_frames(videos)),
    ):
        if mismatch is not None:
            raise ValueError(mismatch)
    if videos.frame_size != config.frame_size:
        raise ValueError(
            f"the recognizer takes frames of {config.frame_size} pixels, "
            f"the videos give {videos.frame_size}"
        )
    if len(videos) == 0:
        raise ValueError("the split has no videos")
