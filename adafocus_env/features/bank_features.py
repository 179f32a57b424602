"""BankFeatures: episodes whose features were computed before; a step is a gather, then logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clips import Videos
from adafocus_env.features.bank import FeatureBank
from adafocus_env.features.judges import Judges
from adafocus_env.features.source import EpisodeStart, RecognizerEpisodes, RecognizerSource
from adafocus_env.networks.loading import AnyRecognizer


class BankFeatures(RecognizerSource):
    """A bank and a recognizer's classifier, as a `FeatureSource`.

    Only patches at the bank's positions can be looked at.

    Args:
        recognizer: is frozen and put in evaluation mode; its device is used. Glancer and focuser
            must be those that the bank was made with.
        videos: the split that the bank was made of; no frame is read but for drawing.
        bank: the features.
        positions: `(A, 2)` (top, left) pixels of the grid in use.
        patch_size: side of the patches in pixels; None takes the recognizer's.
        judges: other classifiers, see `Judges`.
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
        judges: Judges | None = None,
        observation: str = "map",
        bank_device: str = "auto",
    ):
        super().__init__(
            recognizer,
            videos,
            num_decisions=bank.layout.num_frames,
            map_shape=bank.layout.map_shape,
            patch_size=patch_size,
            judges=judges,
            observation=observation,
        )
        bank.check(recognizer, videos, positions=positions, patch_size=self.patch_size)
        self.bank = bank
        self.stored = bank.stored(self.device, bank_device)
        free = self.frame_size - self.patch_size
        self._position_at = torch.full((free + 1, free + 1), -1)
        self._position_at[positions[:, 0], positions[:, 1]] = torch.arange(len(positions))

    def open(self, num_rows: int) -> BankEpisodes:
        """Room for the clips of `num_rows` rows.

        Raises:
            ValueError: there is not enough.
        """
        # Glance vectors, and the maps of an observation.
        channels, *places = self.map_shape
        self._check_room(num_rows, 4 * channels * (self.num_decisions + math.prod(places)))
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


class BankEpisodes(RecognizerEpisodes):
    """N rows that each show a clip of the bank."""

    def __init__(self, source: BankFeatures, num_rows: int):
        super().__init__(source, num_rows)
        self._source = source
        self._stored = source.stored
        self._clips = torch.zeros(num_rows, dtype=torch.int64)
        self._drawn: tuple[int, Tensor] | None = None

    def load(self, rows: Sequence[int], starts: Sequence[EpisodeStart]) -> None:
        """Note which clips the rows show; only their glance vectors are read."""
        bank = self._source.bank
        videos = torch.tensor([start.video_index for start in starts])
        views = torch.tensor([bank.view_of(start.episode_seed) for start in starts])
        clips = bank.clips(videos, views)
        self._clips[list(rows)] = clips
        vectors = self._stored.take("glance_vectors", clips)
        self._show(rows, videos.tolist(), vectors, bank.labels[videos])

    def observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Glance maps or vectors of (row, step) pairs; always a copy."""
        if self._source.pooled:
            device = self.glance_vectors.device
            return self.glance_vectors[rows.to(device), steps.to(device)]
        return self._stored.take("glance_maps", self._clips[rows], steps)

    def focus(self, rows: Tensor, steps: Tensor, offsets: Tensor) -> Tensor:
        """Patch vectors of (row, step) pairs at grid positions.

        Raises:
            ValueError: an offset is no grid position.
        """
        positions = self._source.positions(offsets.cpu())
        return self._stored.take("patch_vectors", self._clips[rows], steps, positions)

    def frame(self, row: int, step: int) -> npt.NDArray[np.uint8]:
        """One frame as `(H, W, 3)` uint8 RGB: a bank holds none, so the video is read.

        Raises:
            VideoError: it cannot be.
        """
        clip = int(self._clips[row])
        if self._drawn is None or self._drawn[0] != clip:
            video, view = self._shown[row], clip % self._source.bank.layout.views
            seed = self._source.bank.episode_seed(video, view)
            self._drawn = clip, self._source.videos.clip(video, seed).frames
        return self._image(self._drawn[1], step)
