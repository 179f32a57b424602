"""What the environment asks of its simulator, whether features are computed or stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class EpisodeStart:
    """Which video an episode shows, and the seed of everything random in it.

    Attributes:
        video_index: index into the split.
        episode_seed: integer in `[0, 2**64)`.
    """

    video_index: int
    episode_seed: int


class EpisodeFeatures(Protocol):
    """The simulator's view of N rows, one loaded clip each.

    `rows` and `steps` are `(M,)` integer tensors on the CPU: any (row, decision) pairs, in any
    order and as often as wanted. So one decision of N rows and all decisions of N rows go through
    the same three methods.

    Attributes:
        labels: `(N,)` true classes, int64, on the device.
    """

    labels: Tensor

    def load(self, rows: Sequence[int], starts: Sequence[EpisodeStart]) -> None:
        """Put new clips into some rows."""
        ...

    def observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Glance maps `(M, C, h, w)`, within the declared bounds, or vectors `(M, C)`."""
        ...

    def focus(self, rows: Tensor, steps: Tensor, offsets: Tensor) -> Tensor:
        """Patch vectors `(M, F)` of the patches at integer `(M, 2)` (top, left) offsets."""
        ...

    def classify(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits `(M, K)` and new states `(M, S)` after one decision, from `(M, S)` states."""
        ...

    def classify_each(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> Tensor:
        """Logits `(M, A, K)` of one decision under A patches, `(M, A, F)`, each by itself."""
        ...

    def classify_sequence(self, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All decisions of all rows from the zero state.

        Args:
            patch_vectors: `(N, T, F)`.

        Returns:
            logits `(N, T, K)` and states `(N, T, S)` after every decision.
        """
        ...

    def frame(self, row: int, step: int) -> npt.NDArray[np.uint8]:
        """The frame `(H, W, 3)` uint8 RGB that decision `step` of `row` looks at.

        Of a decision that serves several frames it is the middle one.
        """
        ...


@runtime_checkable
class WorksAhead(Protocol):
    """Episode features that can begin to load clips while others are looked at."""

    @property
    def works_ahead(self) -> bool:
        """Whether `prefetch` does anything."""
        ...

    def prefetch(self, starts: Sequence[EpisodeStart]) -> None:
        """Announce what `load` will be asked for next; it changes no result."""
        ...


class FeatureSource(Protocol):
    """A split of videos seen through frozen networks.

    Attributes:
        num_videos: V, videos in the split.
        num_decisions: T, decisions of an episode; one a frame, or one a division of the clip.
        class_names: K names.
        frame_size: side of the frames in pixels.
        patch_size: side P of the patches in pixels.
        observation_shape: `(C, h, w)` for maps, `(C,)` for vectors.
        observation_bound: observations lie in `[0, observation_bound]`.
        num_patch_features: F.
        state_size: S, of the classifier's state.
        device: where features are computed.
    """

    num_videos: int
    num_decisions: int
    class_names: tuple[str, ...]
    frame_size: int
    patch_size: int
    observation_shape: tuple[int, ...]
    observation_bound: float
    num_patch_features: int
    state_size: int
    device: torch.device

    def open(self, num_rows: int) -> EpisodeFeatures:
        """Room for the clips of `num_rows` rows; nothing is loaded yet."""
        ...
