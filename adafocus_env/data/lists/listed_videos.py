"""The videos of a list file as clips, whether they lie on disk as video files or as frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clips import Clip, VideoError, dataset_identity
from adafocus_env.data.lists.list_files import ListFileError, VideoRecord
from adafocus_env.data.media.display import Frame
from adafocus_env.data.sampling.segments import fixed_sampling
from adafocus_env.data.sampling.shift import sampling_rules
from adafocus_env.data.transforms import ClipTransform
from adafocus_env.seeding import Purpose, episode_rng

CROPS = ("same", "independent")


class FrameReader(Protocol):
    """How the frames of a video are read from disk."""

    def read(self, path: Path, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Read frames of one video.

        Args:
            path: what the list calls the video, below the data folder.
            indices: 0-based frames, in any order, repeats allowed.

        Yields:
            (index, `(H, W, 3)` uint8 RGB) of each distinct index, ascending.

        Raises:
            VideoError: the video or a frame of it is missing or cannot be read.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """What of the reader decides the pixels of a frame; see `Videos.identity`."""
        ...


class ListedVideos:
    """Labelled videos on disk.

    Args:
        records: lines of a list file.
        class_names: K names.
        reader: reads frames of one video.
        num_frames: T, frames of a clip.
        num_glance_frames: frames of a clip for the glancer alone, None for none; with a number,
            `frame_sampling` is a key of `shift_sampling.SHIFT_SAMPLINGS`.
        crops: `"same"`, or `"independent"`: glance frames get a random crop of their own.
        transform: crop and flip of the whole clip.
        frame_sampling: key of `frame_sampling.FRAME_SAMPLINGS`.
        target_centers: for each video `(its frames, 2)` (row, col) pixels; None if unknown.
        keep_decoded: keep every frame of every video in memory once it was read.

    Raises:
        ListFileError: there are target positions for another number of videos.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        class_names: Sequence[str],
        reader: FrameReader,
        *,
        num_frames: int,
        transform: ClipTransform,
        num_glance_frames: int | None = None,
        crops: str = "same",
        frame_sampling: str = "center",
        target_centers: npt.NDArray[np.float32] | None = None,
        keep_decoded: bool = False,
    ):
        if target_centers is not None and len(target_centers) != len(records):
            raise ListFileError(
                f"{len(target_centers)} target paths for {len(records)} videos; "
                "make the files again"
            )
        self.records = tuple(records)
        self.class_names = tuple(class_names)
        self.labels = np.array([record.label for record in records], dtype=np.int64)
        self.label_sets = tuple(record.labels for record in records)
        self.num_frames = num_frames
        self.num_glance_frames = num_glance_frames
        self.frame_size = transform.frame_size
        self._reader = reader
        self._transform = transform
        self._frame_sampling = frame_sampling
        self._crops = crops
        rules = sampling_rules(num_glance_frames)
        self._sample_frames = rules[frame_sampling]
        self._sample_targets = rules[fixed_sampling(frame_sampling)]
        self._target_centers = target_centers
        self._decoded: dict[int, Tensor] | None = {} if keep_decoded else None

    def __len__(self) -> int:
        """The number of videos in the list."""
        return len(self.records)

    def clip(self, index: int, episode_seed: int) -> Clip:
        """Read, sample and crop video `index` as the episode seed says.

        Raises:
            VideoError: the video cannot be read; it is never replaced by another one.
        """
        record = self.records[index]
        rng = episode_rng(episode_seed, Purpose.FRAMES)
        chosen = self._sample_frames(record.num_frames, self.num_frames, rng)
        if self.num_glance_frames is not None:
            seen = self._sample_frames(record.num_frames, self.num_glance_frames, rng)
            chosen = np.concatenate([chosen, seen])
        frames, glance_frames = self._cropped(self._frames(index, chosen), episode_seed)
        return Clip(frames, record.label, glance_frames)

    def target_centers(self, index: int) -> npt.NDArray[np.float32] | None:
        """`(T, 2)` (row, col) of the target in the frames that evaluation chooses, if known."""
        if self._target_centers is None:
            return None
        rng = np.random.default_rng(0)  # fixed rules draw nothing from it
        chosen = self._sample_targets(self.records[index].num_frames, self.num_frames, rng)
        centers: npt.NDArray[np.float32] = self._target_centers[index][chosen]
        return centers

    def video_name(self, index: int) -> str:
        """Its path."""
        return str(self.records[index].path)

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`; the files themselves are not looked into."""
        transform, glances, fit = self._transform, {}, {}
        if transform.crop and transform.fit != "crop":  # what was computed before had no other
            fit = {"fit": transform.fit}
        if self.num_glance_frames is not None:
            glances = {"num_glance_frames": self.num_glance_frames, "crops": self._crops}
        # Where the data folder lies is no part of it: paths are taken from what all have in common.
        root = os.path.commonpath([record.path.parent for record in self.records])
        videos = [
            (os.path.relpath(record.path, root), record.num_frames, list(record.labels))
            for record in self.records
        ]
        return {
            "preprocessing": {
                **self._reader.identity(),
                "num_frames": self.num_frames,
                "frame_size": self.frame_size,
                "sampling": self._frame_sampling,
                "augment": transform.augment,
                "crop": transform.crop,
                "flip": transform.augment and transform.flip,
                **fit,
                **glances,
            },
            "dataset": dataset_identity(videos, self.class_names),
        }

    def _cropped(self, frames: Tensor, episode_seed: int) -> tuple[Tensor, Tensor | None]:
        """A clip's frames, and its glance frames, which come behind them, at their final size."""
        crop_rng = episode_rng(episode_seed, Purpose.CROP)
        parts = (self.num_frames, len(frames) - self.num_frames)
        # A flip is always that of the whole clip: each part asks the same stream from its start.
        if self._crops == "independent":
            cropped = [
                self._transform(part, crop_rng, episode_rng(episode_seed, Purpose.FLIP))
                for part in frames.split(parts)
                if len(part)
            ]
        else:
            flip_rng = episode_rng(episode_seed, Purpose.FLIP)
            cropped = list(self._transform(frames, crop_rng, flip_rng).split(parts))
        return cropped[0], cropped[1] if parts[1] else None

    def _frames(self, index: int, chosen: npt.NDArray[np.int64]) -> Tensor:
        """`(T, 3, H, W)` uint8 frames of a video, in the chosen order."""
        record = self.records[index]
        if self._decoded is None:
            distinct, order = np.unique(chosen, return_inverse=True)
            return self._read(record.path, distinct)[torch.from_numpy(order)]
        if index not in self._decoded:
            self._decoded[index] = self._read(record.path, np.arange(record.num_frames))
        return self._decoded[index][torch.from_numpy(chosen)]

    def _read(self, path: Path, indices: npt.NDArray[np.int64]) -> Tensor:
        clip, sizes = None, set()
        for place, (_, frame) in enumerate(self._reader.read(path, indices.tolist())):
            sizes.add(frame.shape[:2])
            if clip is None:
                clip = torch.empty((len(indices), 3, *frame.shape[:2]), dtype=torch.uint8)
            if len(sizes) == 1:
                clip[place] = torch.from_numpy(frame).permute(2, 0, 1)
        if len(sizes) > 1:
            named = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
            raise VideoError(
                f"{path}: the frames have different sizes, {named}; extract them again"
            )
        assert clip is not None
        return clip
