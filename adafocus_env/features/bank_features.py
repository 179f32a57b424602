"""BankFeatures: episodes whose features were computed before; a step is a gather, then logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clips import Videos
from adafocus_env.features.bank import FeatureBank
from adafocus_env.features.clip_classifier import clip_classifier
from adafocus_env.features.live import middle_frame
from adafocus_env.features.source import EpisodeStart
from adafocus_env.networks.glancer import freeze
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.networks.recognizer_base import class_mismatch


class BankFeatures:
    """A bank and a recognizer's classifier, as a `FeatureSource`.

    Only patches at the bank's positions can be looked at.

    Args:
        recognizer: is frozen and put in evaluation mode; its device is used. Glancer and focuser
            must be those that the bank was made with.
        videos: the split that the bank was made of; no frame is read but for drawing.
        bank: the features.
        positions: `(A, 2)` (top, left) pixels of the grid in use.
        patch_size: side of the patches in pixels; None takes the recognizer's.
        observation: `"map"` or `"vector"` (the pooled map).
        bank_device: see `FeatureBank.stored`.

    Raises:
        CheckpointError: the bank was made of something else.
        ValueError: recognizer and videos do not fit, or a bad argument.
    """

    def __init__(
        self,
        recognizer: AnyRecognizer,
        videos: Videos,
        bank: FeatureBank,
        *,
        positions: Tensor,
        patch_size: int | None = None,
        observation: str = "map",
        bank_device: str = "auto",
    ):
        config = recognizer.config
        mismatch = class_mismatch(config, videos.class_names)
        if mismatch is not None:
            raise ValueError(mismatch)
        if observation not in ("map", "vector"):
            raise ValueError(f"observation is 'map' or 'vector', not {observation!r}")
        self.patch_size = config.patch_size if patch_size is None else patch_size
        bank.check(recognizer, videos, positions=positions, patch_size=self.patch_size)
        freeze(recognizer)
        self.recognizer = recognizer
        self.videos = videos
        self.bank = bank
        self.num_videos = len(videos)
        self.num_decisions = bank.layout.num_frames
        self.class_names = tuple(videos.class_names)  # the recognizer's may be placeholders
        self.frame_size = config.frame_size
        self.pooled = observation == "vector"
        map_shape = bank.layout.map_shape
        self.observation_shape: tuple[int, ...] = map_shape[:1] if self.pooled else map_shape
        self.observation_bound = float(recognizer.glancer.map_bound)
        self.num_patch_features = bank.layout.num_patch_features
        self.classifier = clip_classifier(recognizer)
        self.state_size = self.classifier.state_size
        self.device = recognizer.device
        self.stored = bank.stored(self.device, bank_device)
        free = self.frame_size - self.patch_size
        self._position_at = torch.full((free + 1, free + 1), -1)
        self._position_at[positions[:, 0], positions[:, 1]] = torch.arange(len(positions))

    def open(self, num_rows: int) -> BankEpisodes:
        """Room for the clips of `num_rows` rows."""
        return BankEpisodes(self, num_rows)

    def positions(self, offsets: Tensor) -> Tensor:
        """Which of the bank's positions `(M,)` lie at the offsets `(M, 2)`.

        Raises:
            ValueError: an offset is none of them.
        """
        found = self._position_at[offsets[:, 0], offsets[:, 1]]
        if bool((found < 0).any()):
            top, left = offsets[found < 0][0].tolist()
            raise ValueError(
                f"a feature bank holds the {len(self.bank.positions)} grid positions only, and "
                f"(top, left) ({top}, {left}) is none of them; use grid actions and "
                "baseline_positions=grid, or features=live"
            )
        return found


class BankEpisodes:
    """N rows that each show a clip of the bank."""

    def __init__(self, source: BankFeatures, num_rows: int):
        channels = source.bank.layout.map_shape[0]
        self._source = source
        self._stored = source.stored
        self._clips = torch.zeros(num_rows, dtype=torch.int64)
        self._glance_vectors = torch.zeros(
            num_rows, source.num_decisions, channels, device=source.device
        )
        self._context = torch.zeros_like(source.classifier.context(self._glance_vectors))
        self._drawn: tuple[int, Tensor] | None = None
        self.labels = torch.zeros(num_rows, dtype=torch.int64, device=source.device)

    def load(self, rows: Sequence[int], starts: Sequence[EpisodeStart]) -> None:
        """Note which clips the rows show; only their glance vectors are read."""
        bank, device = self._source.bank, self._source.device
        videos = torch.tensor([start.video_index for start in starts])
        views = torch.tensor([bank.view_of(start.episode_seed) for start in starts])
        clips = videos * bank.layout.views + views
        self._clips[list(rows)] = clips
        index = torch.as_tensor(list(rows), device=device)
        vectors = self._stored.take("glance_vectors", clips)
        self._glance_vectors[index] = vectors
        self._context[index] = self._source.classifier.context(vectors)
        self.labels[index] = bank.labels[videos].to(device)

    def observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Glance maps or vectors of (row, step) pairs; always a copy."""
        if self._source.pooled:
            device = self._glance_vectors.device
            return self._glance_vectors[rows.to(device), steps.to(device)]
        return self._stored.take("glance_maps", self._clips[rows], steps)

    def focus(self, rows: Tensor, steps: Tensor, offsets: Tensor) -> Tensor:
        """Patch vectors of (row, step) pairs at grid positions.

        Raises:
            ValueError: an offset is no grid position.
        """
        positions = self._source.positions(offsets.cpu())
        return self._stored.take("patch_vectors", self._clips[rows], steps, positions)

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
        """One frame as `(H, W, 3)` uint8 RGB: a bank holds none, so the video is read.

        Raises:
            VideoError: it cannot be.
        """
        clip = int(self._clips[row])
        if self._drawn is None or self._drawn[0] != clip:
            video, view = divmod(clip, self._source.bank.layout.views)
            seed = self._source.bank.episode_seed(video, view)
            self._drawn = clip, self._source.videos.clip(video, seed).frames
        chosen = middle_frame(self._drawn[1], step, self._source.recognizer.focus_group)
        image: npt.NDArray[np.uint8] = chosen.permute(1, 2, 0).numpy().copy()
        return image
