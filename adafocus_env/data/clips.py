"""`Clip`, and `Videos`: what the environment and the supervised stages ask of any data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class VideoError(RuntimeError):
    """A video is missing, unreadable or shorter than its list says; the message names the file."""


@dataclass(frozen=True)
class Clip:
    """The sampled, cropped frames of one video.

    Attributes:
        frames: `(T, 3, H, W)` uint8 RGB, on the CPU.
        label: index of the true class.
    """

    frames: Tensor
    label: int


class Videos(Protocol):
    """A split of a data set: labelled videos from which clips are sampled.

    Attributes:
        class_names: K names; a label is an index into them.
        labels: `(V,)` true class of each video: the first of its labels.
        label_sets: all labels of each video, distinct and ascending; `label_sets[i][0]` is
            `labels[i]`. Losses and rewards use the first, mean average precision uses all.
        num_frames: T, frames of a clip.
        frame_size: side of the square frames in pixels.
    """

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    label_sets: tuple[tuple[int, ...], ...]
    num_frames: int
    frame_size: int

    def __len__(self) -> int:
        """V, the number of videos."""
        ...

    def clip(self, index: int, episode_seed: int) -> Clip:
        """Sample the clip of video `index` that `episode_seed` stands for."""
        ...

    def target_centers(self, index: int) -> npt.NDArray[np.float32] | None:
        """`(T, 2)` (row, col) pixel position of what should be looked at in each frame.

        None where it is not known. Only defined where frames are chosen without chance, as in
        evaluation; elsewhere these are the frames that centre sampling would choose.
        """
        ...


def to_clip_tensor(frames: npt.NDArray[np.uint8]) -> Tensor:
    """`(T, H, W, 3)` uint8 frames as a contiguous `(T, 3, H, W)` tensor."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
