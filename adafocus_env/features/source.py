"""What the environment asks of its simulator, whether features are computed or stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clips import Videos
from adafocus_env.features.judges import Judges
from adafocus_env.memory import check_room
from adafocus_env.networks.glancer import freeze
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.networks.recognizer_config import class_mismatch


@dataclass(frozen=True)
class EpisodeStart:
    """Which video an episode shows, and the seed of everything random in it.

    Attributes:
        video_index: index into the split.
        episode_seed: integer in `[0, 2**64)`.
    """

    video_index: int
    episode_seed: int


def all_pairs(num_rows: int, num_decisions: int) -> tuple[Tensor, Tensor]:
    """Rows and steps, `(N * T,)` each, of all decisions of N rows; row-major."""
    rows = torch.arange(num_rows).repeat_interleave(num_decisions)
    return rows, torch.arange(num_decisions).repeat(num_rows)


class EpisodeFeatures(Protocol):
    """The simulator's view of N rows, one loaded clip each.

    `rows` and `steps` are `(M,)` integer tensors on the CPU: any (row, decision) pairs, in any
    order and as often as wanted. So one decision of N rows and all decisions of N rows go through
    the same three methods.

    Attributes:
        labels: `(N,)` true classes, int64, on the device.
        works_ahead: whether `prefetch` does anything.
    """

    labels: Tensor
    works_ahead: bool

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

    def close(self) -> None:
        """End what works for it in the background, if anything does."""
        ...


class RecognizerSource(FeatureSource):
    """What live and banked features share: a split, a recognizer and its classifier.

    Args:
        recognizer: is frozen and put in evaluation mode; its device is used.
        videos: the split.
        num_decisions: T.
        map_shape: `(C, h, w)` of an observation that is a map.
        patch_size: P; None takes the recognizer's.
        judges: other classifiers, see `Judges`; None: the recognizer's own.
        observation: `"map"` or `"vector"` (the pooled map).

    Raises:
        ValueError: the recognizer knows other classes, or a bad argument.
    """

    def __init__(
        self,
        recognizer: AnyRecognizer,
        videos: Videos,
        *,
        num_decisions: int,
        map_shape: tuple[int, int, int],
        patch_size: int | None,
        judges: Judges | None = None,
        observation: str,
    ):
        config = recognizer.config
        mismatch = class_mismatch(config, videos.class_names)
        if mismatch is not None:
            raise ValueError(mismatch)
        if observation not in ("map", "vector"):
            raise ValueError(f"observation is 'map' or 'vector', not {observation!r}")
        freeze(recognizer)
        if judges is not None:
            judges.check(recognizer, len(videos))
        self.recognizer = recognizer
        self.judges = judges
        self.videos = videos
        self.num_videos = len(videos)
        self.num_decisions = num_decisions
        self.class_names = tuple(videos.class_names)  # the recognizer's may be placeholders
        self.frame_size = config.frame_size
        self.patch_size = config.patch_size if patch_size is None else patch_size
        if not 0 < self.patch_size <= self.frame_size:
            raise ValueError(f"patch_size must be in 1..{self.frame_size}, not {self.patch_size}")
        self.map_shape = map_shape
        self.pooled = observation == "vector"
        self.observation_shape = map_shape[:1] if self.pooled else map_shape
        self.observation_bound = float(recognizer.glancer.map_bound)
        self.num_patch_features = recognizer.focuser.num_features
        self.state_size = recognizer.state_size
        self.device = recognizer.device

    def close(self) -> None:
        """Nothing works in the background."""

    def _check_room(self, num_rows: int, bytes_a_row: int) -> None:
        what = f"clips of {num_rows} videos at a time"
        cure = "use fewer (num_envs=, batch_size=) or a smaller num_frames="
        check_room(what, num_rows * bytes_a_row, self.device, cure)


class RecognizerEpisodes(EpisodeFeatures):
    """What live and banked episodes share: labels, glance vectors, and what they are named.

    Args:
        source: of the features.
        num_rows: N.

    Attributes:
        glance_vectors: `(N, T, C)` of the clips, on the device.
    """

    def __init__(self, source: RecognizerSource, num_rows: int):
        shape = (num_rows, source.num_decisions, source.map_shape[0])
        self._recognizer = source.recognizer
        self._judges = source.judges
        self._shown = [0] * num_rows  # videos
        self._frames_per_decision = source.recognizer.focus_group
        self.glance_vectors = torch.zeros(shape, device=source.device)
        self._context = torch.zeros_like(self._recognizer.glance_context(self.glance_vectors))
        self.labels = torch.zeros(num_rows, dtype=torch.int64, device=source.device)
        self.works_ahead = False

    def prefetch(self, starts: Sequence[EpisodeStart]) -> None:
        """Nothing can be loaded ahead."""

    @torch.no_grad()
    def _show(
        self, rows: Sequence[int], videos: Sequence[int], glance_vectors: Tensor, labels: Tensor
    ) -> Tensor:
        """Put videos, glance vectors `(M, T, C)` and labels into rows; these on the device."""
        index = torch.as_tensor(list(rows), device=self.labels.device)
        for row, video in zip(rows, videos, strict=True):
            self._shown[row] = video
        self.glance_vectors[index] = glance_vectors
        self._context[index] = self._recognizer.glance_context(glance_vectors)
        self.labels[index] = labels.to(self.labels.device)
        return index

    def _context_of(self, rows: Tensor, steps: Tensor) -> Tensor:
        return self._context[rows.to(self._context.device), steps.to(self._context.device)]

    @torch.no_grad()
    def classify(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision of (row, step) pairs."""
        context = self._context_of(rows, steps)
        if self._judges is None:
            return self._recognizer.classify_step(context, patch_vectors, state)
        videos = [self._shown[row] for row in rows.tolist()]
        return self._judges.classify_step(videos, context, patch_vectors, state)

    @torch.no_grad()
    def classify_each(
        self, rows: Tensor, steps: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> Tensor:
        """One decision of (row, step) pairs under several patches."""
        context = self._context_of(rows, steps)
        if self._judges is None:
            return self._recognizer.classify_each(context, patch_vectors, state)
        videos = [self._shown[row] for row in rows.tolist()]
        return self._judges.classify_each(videos, context, patch_vectors, state)

    @torch.no_grad()
    def classify_sequence(self, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All decisions of all rows."""
        if self._judges is None:
            return self._recognizer.classify_sequence(self._context, patch_vectors)
        return self._judges.classify_sequence(self._shown, self._context, patch_vectors)

    def _image(self, frames: Tensor, step: int) -> npt.NDArray[np.uint8]:
        """The middle frame of a decision, from those of its clip `(T, 3, H, W)`."""
        count = self._frames_per_decision
        frame = frames[step * count + count // 2]
        image: npt.NDArray[np.uint8] = frame.permute(1, 2, 0).cpu().numpy().copy()
        return image
