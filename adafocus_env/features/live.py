"""LiveFeatures: clips go through the frozen networks when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clip_loader import ClipLoader
from adafocus_env.data.clips import Videos
from adafocus_env.features.source import EpisodeStart
from adafocus_env.networks.frozen import FrozenRecognizer
from adafocus_env.networks.glancer import freeze
from adafocus_env.networks.recognizer import Recognizer, RecognizerConfig
from adafocus_env.networks.recognizer_base import class_mismatch


class LiveFeatures:
    """A split of videos and a recognizer, as a `FeatureSource`.

    Args:
        recognizer: is frozen and put in evaluation mode; its device is used.
        videos: the split. Class names and sizes must be the recognizer's.
        patch_size: side of the patches in pixels; None takes the recognizer's.
        observation: `"map"` or `"vector"` (the pooled map).
        amp: precision of glancer and focuser, see `FrozenRecognizer`.
        compile: whether they go through `torch.compile`.
        num_workers: processes that load clips, also ahead; 0 loads them when they are needed.

    Raises:
        ValueError: recognizer and videos do not fit, or a bad argument.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        videos: Videos,
        *,
        patch_size: int | None = None,
        observation: str = "map",
        amp: str = "none",
        compile: bool = False,  # noqa: A002  # the name users know
        num_workers: int = 0,
    ):
        config = recognizer.config
        _check_fit(config, videos)
        if observation not in ("map", "vector"):
            raise ValueError(f"observation is 'map' or 'vector', not {observation!r}")
        freeze(recognizer)
        self.recognizer = recognizer
        self.networks = FrozenRecognizer(recognizer, amp=amp, compile=compile)
        self.videos = videos
        self.clips = ClipLoader(videos, num_workers)
        self.num_videos = len(videos)
        self.num_decisions = videos.num_frames
        self.class_names = tuple(videos.class_names)  # the recognizer's may be placeholders
        self.frame_size = config.frame_size
        self.patch_size = config.patch_size if patch_size is None else patch_size
        if not 0 < self.patch_size <= self.frame_size:
            raise ValueError(f"patch_size must be in 1..{self.frame_size}, not {self.patch_size}")
        self.map_shape = recognizer.map_shape()
        self.pooled = observation == "vector"
        self.observation_shape: tuple[int, ...] = (
            self.map_shape[:1] if self.pooled else self.map_shape
        )
        self.observation_bound = float(recognizer.glancer.map_bound)
        self.num_patch_features = recognizer.focuser.num_features
        self.state_size = config.hidden_dim
        self.device = recognizer.device

    def open(self, num_rows: int) -> LiveEpisodes:
        """Room for the clips of `num_rows` rows."""
        return LiveEpisodes(self, num_rows)


class LiveEpisodes:
    """N rows of clips on the recognizer's device, with the glances of all their frames."""

    def __init__(self, source: LiveFeatures, num_rows: int):
        size, device = source.frame_size, source.device
        shape = (num_rows, source.num_decisions)
        self._source = source
        self._frames = torch.zeros((*shape, 3, size, size), dtype=torch.uint8, device=device)
        self._glance_maps = torch.zeros((*shape, *source.map_shape), device=device)
        self._glance_vectors = torch.zeros((*shape, source.map_shape[0]), device=device)
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
        glance_maps, glance_vectors = source.networks.glance(frames.flatten(0, 1))
        self._glance_maps[index] = glance_maps.unflatten(0, frames.shape[:2])
        self._glance_vectors[index] = glance_vectors.unflatten(0, frames.shape[:2])

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
        """Crop and focus, in micro-batches."""
        source = self._source
        index = (rows * source.num_decisions + steps).to(source.device)
        return source.networks.focus(
            self._frames.flatten(0, 1), offsets, patch_size=source.patch_size, index=index
        )

    @torch.no_grad()
    def classify(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision of (row, step) pairs."""
        glance = self._glance_vectors[rows.to(state.device), steps.to(state.device)]
        return self._source.networks.classify_step(torch.cat([glance, patch_vectors], dim=1), state)

    @torch.no_grad()
    def classify_each(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> Tensor:
        """One decision of (row, step) pairs under several patches."""
        glance = self._glance_vectors[rows.to(state.device), steps.to(state.device)]
        return self._source.recognizer.classify_each(glance, patch_vectors, state)

    @torch.no_grad()
    def classify_sequence(self, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All decisions of all rows."""
        features = torch.cat([self._glance_vectors, patch_vectors], dim=2)
        return self._source.networks.classify_sequence(features)

    def frame(self, row: int, step: int) -> npt.NDArray[np.uint8]:
        """One frame as `(H, W, 3)` uint8 RGB."""
        image: npt.NDArray[np.uint8] = self._frames[row, step].permute(1, 2, 0).cpu().numpy().copy()
        return image


def _keys(starts: Sequence[EpisodeStart]) -> list[tuple[int, int]]:
    return [(start.video_index, start.episode_seed) for start in starts]


def _check_fit(config: RecognizerConfig, videos: Videos) -> None:
    mismatch = class_mismatch(config, videos.class_names)
    if mismatch is not None:
        raise ValueError(mismatch)
    if videos.frame_size != config.frame_size:
        raise ValueError(
            f"the recognizer takes frames of {config.frame_size} pixels, "
            f"the videos give {videos.frame_size}"
        )
    if len(videos) == 0:
        raise ValueError("the split has no videos")
