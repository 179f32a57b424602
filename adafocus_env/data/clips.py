"""`Clip`, and `Videos`: what the environment and the supervised stages ask of any data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor


class VideoError(RuntimeError):
    """A video is missing, unreadable or shorter than its list says; the message names the file."""


@dataclass(frozen=True)
class Clip:
    """The sampled, cropped frames of one video.

    Attributes:
        frames: `(T, 3, H, W)` uint8 RGB, on the CPU.
        label: index of the true class.
        glance_frames: `(T', 3, H, W)` uint8 RGB, what the glancer sees; None: `frames` themselves.
    """

    frames: Tensor
    label: int
    glance_frames: Tensor | None = None


class Videos(Protocol):
    """A split of a data set: labelled videos from which clips are sampled.

    Attributes:
        class_names: K names; a label is an index into them.
        labels: `(V,)` true class of each video: the first of its labels.
        label_sets: all labels of each video, distinct and ascending; `label_sets[i][0]` is
            `labels[i]`. Losses and rewards use the first, mean average precision uses all.
        num_frames: T, frames of a clip.
        num_glance_frames: T', frames of a clip for the glancer alone; None: it has none.
        frame_size: side of the square frames in pixels.
    """

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    label_sets: tuple[tuple[int, ...], ...]
    num_frames: int
    num_glance_frames: int | None
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

    def video_name(self, index: int) -> str:
        """What a message calls video `index`: its path where it has one."""
        ...

    def identity(self) -> dict[str, Any]:
        """What decides the pixels of clips, in JSON types: stored features are checked against it.

        Returns:
            `preprocessing`: how a clip is made of a video and an episode seed. `dataset`: the
            `dataset_identity` of the split.
        """
        ...


def dataset_identity(videos: Iterable[Sequence[Any]], class_names: Sequence[str]) -> dict[str, Any]:
    """Which videos a split holds, in which order.

    Args:
        videos: one sequence of JSON types a video: its path, frames, labels.
        class_names: K names.
    """
    listed = [list(video) for video in videos]
    return {
        "videos": len(listed),
        "videos_sha256": _sha256(listed),
        "classes": len(class_names),
        "classes_sha256": _sha256(list(class_names)),
    }


def _sha256(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def to_clip_tensor(frames: npt.NDArray[np.uint8]) -> Tensor:
    """`(T, H, W, 3)` uint8 frames as a contiguous `(T, 3, H, W)` tensor."""
    import torch  # here, so that who only names and reads videos starts without it

    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
