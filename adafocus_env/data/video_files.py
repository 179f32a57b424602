"""Videos on disk, named by a list file, decoded with OpenCV by sequential read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adafocus_env.data.clips import Clip, to_clip_tensor
from adafocus_env.data.frame_sampling import FRAME_SAMPLINGS, center_segment_indices
from adafocus_env.data.transforms import ClipTransform
from adafocus_env.seeding import Purpose, episode_rng


class VideoError(RuntimeError):
    """A video file is missing, unreadable or shorter than its list says."""


class ListFileError(ValueError):
    """A list or class file cannot be used; the message names the file, the line and the cure."""


@dataclass(frozen=True)
class VideoRecord:
    """One line of a list file."""

    path: Path
    num_frames: int
    label: int


def read_class_file(path: Path) -> tuple[str, ...]:
    """The class names, one a line; blank lines at the end are ignored.

    Raises:
        FileNotFoundError: no such file.
        ListFileError: no class in it, or a blank line between classes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"class file {path} does not exist; it names one class a line")
    names = [line.strip() for line in _read_lines(path)]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ListFileError(f"{path}: the class file is empty; write one class name a line")
    for number, name in enumerate(names, start=1):
        if not name:
            raise ListFileError(f"{path}:{number}: blank line between class names; remove it")
    return tuple(names)


def read_list_file(
    path: Path, root: Path, num_classes: int, *, separator: str = ","
) -> list[VideoRecord]:
    """Read `path, number of frames, label` records, one a line; blank lines are skipped.

    Only the last two columns are split off, so a path may contain the separator.

    Args:
        path: the list file.
        root: folder that the records' paths are relative to; none may leave it.
        num_classes: labels must be below this.
        separator: column separator, `","` or `" "`.

    Raises:
        FileNotFoundError: no such list file.
        ListFileError: no record, a missing column, a number that is none, a label out of range, or
            a path that is absolute or leaves `root`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"list file {path} does not exist; it holds one video a line")
    root = root.resolve()
    records = []
    for number, line in enumerate(_read_lines(path), start=1):
        if line.strip():
            try:
                records.append(_parse_record(line.strip(), root, num_classes, separator))
            except ValueError as error:
                raise ListFileError(f"{path}:{number}: {error}") from error
    if not records:
        raise ListFileError(
            f"{path}: the list file is empty; write 'path{separator}frames{separator}label' a line"
        )
    return records


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ListFileError(f"{path}: not a UTF-8 text file ({error}); save it as UTF-8") from error


def _parse_record(line: str, root: Path, num_classes: int, separator: str) -> VideoRecord:
    columns = [column.strip() for column in line.rsplit(separator, 2)]
    if len(columns) != 3 or not columns[0]:
        raise ValueError(f"expected 'path{separator}frames{separator}label', got {line!r}")
    name, frames, label = columns
    try:
        num_frames, label_index = int(frames), int(label)
    except ValueError:
        raise ValueError(
            f"frames and label must be integers, got {frames!r} and {label!r}"
        ) from None
    if num_frames < 1:
        raise ValueError(f"a video needs at least one frame, got {num_frames}")
    if not 0 <= label_index < num_classes:
        raise ValueError(
            f"label {label_index} is not in 0..{num_classes - 1}; is this the right class file?"
        )
    inside = "\0" not in name and not Path(name).is_absolute()
    if not inside or not (root / name).resolve().is_relative_to(root):
        raise ValueError(f"path {name!r} leaves the data folder {root}; use a path inside it")
    return VideoRecord((root / name).resolve(), num_frames, label_index)


def decode_frames(
    path: Path, indices: Sequence[int] | npt.NDArray[np.int64] | None = None
) -> list[npt.NDArray[np.uint8]]:
    """Decode RGB frames of a video file by sequential read (seeking is inexact in many codecs).

    Args:
        path: the video file.
        indices: 0-based frames to keep, not descending, repeats allowed; None keeps all.

    Returns:
        one `(H, W, 3)` uint8 RGB array for each index.

    Raises:
        VideoError: the file is missing, cannot be decoded, or ends before the last index.
    """
    if not path.is_file():
        raise VideoError(f"{path}: no such video file")
    capture = cv2.VideoCapture(str(path))
    decoded: dict[int, npt.NDArray[np.uint8]] = {}
    wanted = None if indices is None else {int(index) for index in indices}
    position = 0
    try:
        if not capture.isOpened():
            raise VideoError(f"{path}: OpenCV cannot decode this file; is it a complete video?")
        while wanted is None or len(decoded) < len(wanted):
            if wanted is None or position in wanted:
                ok, frame = capture.read()
                if ok:
                    decoded[position] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(
                        np.uint8, copy=False
                    )
            else:
                ok = capture.grab()
            if not ok:
                break
            position += 1
    finally:
        capture.release()
    if wanted is None and decoded:
        return list(decoded.values())
    if wanted is None or len(decoded) < len(wanted):
        missing = min(wanted - decoded.keys()) if wanted else 0
        raise VideoError(
            f"{path}: the video ends after {position} readable frames but frame {missing} is "
            "needed; correct the frame count in the list file or replace the video"
        )
    assert indices is not None
    return [decoded[int(index)] for index in indices]


class VideoFiles:
    """Labelled video files: the records of a list file, sampled and cropped into clips.

    Args:
        records: the videos, from `read_list_file`.
        class_names: K names.
        num_frames: T, frames of a clip.
        transform: crop and flip of a clip.
        frame_sampling: `"random"` or `"center"` (see `frame_sampling.py`).
        target_centers: per video `(frames, 2)` (row, col) pixels, where known, in the frames as
            they are after `transform`.
        keep_decoded: keep every decoded video in memory: `frames * H * W * 3` bytes each.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        class_names: Sequence[str],
        *,
        num_frames: int,
        transform: ClipTransform,
        frame_sampling: str = "center",
        target_centers: npt.NDArray[np.float32] | None = None,
        keep_decoded: bool = False,
    ):
        if target_centers is not None and len(target_centers) != len(records):
            raise ListFileError(
                f"{len(target_centers)} target paths for {len(records)} videos; make them again"
            )
        self.records = tuple(records)
        self.class_names = tuple(class_names)
        self.labels = np.array([record.label for record in records], dtype=np.int64)
        self.label_sets: tuple[tuple[int, ...], ...] = tuple((record.label,) for record in records)
        self.num_frames = num_frames
        self.frame_size = transform.frame_size
        self._transform = transform
        self._sample_frames = FRAME_SAMPLINGS[frame_sampling]
        self._target_centers = target_centers
        self._decoded: dict[int, Tensor] | None = {} if keep_decoded else None

    def __len__(self) -> int:
        """The number of videos in the list."""
        return len(self.records)

    def clip(self, index: int, episode_seed: int) -> Clip:
        """Decode, sample and crop video `index` as the episode seed says.

        Raises:
            VideoError: the video cannot be read; it is never replaced by another one.
        """
        record = self.records[index]
        rng = episode_rng(episode_seed, Purpose.FRAMES)
        chosen = self._sample_frames(record.num_frames, self.num_frames, rng)
        frames = self._transform(
            self._frames(index, chosen),
            episode_rng(episode_seed, Purpose.CROP),
            episode_rng(episode_seed, Purpose.FLIP),
        )
        return Clip(frames, record.label)

    def target_centers(self, index: int) -> npt.NDArray[np.float32] | None:
        """`(T, 2)` (row, col) of the target in the frames of centre sampling, if known."""
        if self._target_centers is None:
            return None
        chosen = center_segment_indices(self.records[index].num_frames, self.num_frames)
        centers: npt.NDArray[np.float32] = self._target_centers[index][chosen]
        return centers

    def _frames(self, index: int, chosen: npt.NDArray[np.int64]) -> Tensor:
        """`(T, 3, H, W)` uint8 frames of a video."""
        record = self.records[index]
        if self._decoded is None:
            return to_clip_tensor(np.stack(decode_frames(record.path, chosen)))
        if index not in self._decoded:
            frames = decode_frames(record.path, range(record.num_frames))
            self._decoded[index] = to_clip_tensor(np.stack(frames))
        return self._decoded[index][torch.from_numpy(chosen)]
