"""Video files through OpenCV: decoded by sequential read, at their own or another rate; written."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import VideoError

Frame = npt.NDArray[np.uint8]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")


def output_index(source_index: int, rate_ratio: Fraction) -> int:
    """When a frame of the video is due, counted in frames of the asked rate.

    This is how ffmpeg's `-r` changes a constant rate: source frame i is due at `i * R / fps`,
    rounded to the nearest output, halves up. Output k shows the last source frame that is due at k
    or before, `ceil((k + 1/2) * fps / R) - 1`; the last output is the one at which the last frame
    is due. Extraction and decoding both go by this function, so frame k is what JPEG k shows.

    Args:
        source_index: i, frame of the video from 0.
        rate_ratio: R / fps.

    Returns:
        k, from 0; i itself where the rate is the video's own.
    """
    return (2 * source_index * rate_ratio.numerator + rate_ratio.denominator) // (
        2 * rate_ratio.denominator
    )


class OpenVideo:
    """A video file that is being decoded, from its first frame to its last.

    OpenCV turns frames as the file's rotation says, here and therefore in extracted frames too.

    Args:
        path: the video file.
        frame_rate: R, frames a second to read it at; None is its own rate.

    Raises:
        VideoError: no such file, or no video that OpenCV can decode.
    """

    def __init__(self, path: Path, frame_rate: float | None = None):
        self.path = path
        self._frame_rate = frame_rate
        if not path.is_file():
            raise VideoError(f"{path}: no such video file")
        try:
            name = str(path.absolute()).encode("utf-8").decode("utf-8")
        except UnicodeEncodeError:  # OpenCV crashes on these
            raise VideoError(f"{str(path)!r}: the file name is no UTF-8 text; rename it") from None
        self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            raise VideoError(f"{path}: OpenCV cannot decode this file; is it a complete video?")
        try:
            self._ratio = self._rate_ratio()
        except VideoError:
            self._capture.release()
            raise
        # An estimate from the duration in some formats; 0 or less where the file says nothing.
        self._frame_count = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._frames_read = 0

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(self, *exception: object) -> None:
        self._capture.release()

    @property
    def frames_promised(self) -> int:
        """Frames at the asked rate that the file says it has; 0 where it does not say."""
        return self._due(self._frame_count - 1) + 1 if self._frame_count > 0 else 0

    def read(self, indices: Iterable[int] | None = None) -> Iterator[tuple[int, Frame]]:
        """Decode, once, from the beginning (seeking is inexact in many codecs).

        Args:
            indices: 0-based frames at the asked rate, in any order; None is all of them.

        Yields:
            (index, `(H, W, 3)` uint8 RGB) of each distinct index, ascending. The array is new.

        Raises:
            VideoError: the file ends before the last index, or has no frame at all.
        """
        asked = itertools.count() if indices is None else iter(sorted({int(i) for i in indices}))
        wanted = next(asked, None)
        position = 0  # of the frame to be grabbed next
        frame: Frame | None = None  # the one before it, where it may be shown
        while wanted is not None:
            there = self._capture.grab()
            # The frame before is shown until this one is due; the last one only when it is due.
            until = self._due(position) if there else self._due(position - 1) + 1
            while frame is not None and wanted is not None and wanted < until:
                yield wanted, frame
                wanted = next(asked, None)
            if not there or wanted is None:
                break
            due = self._due(position)
            shown = due <= wanted < max(due + 1, self._due(position + 1))
            frame = self._retrieve() if shown else None
            position += 1
        self._frames_read = position
        if wanted is not None and (indices is not None or position == 0):
            raise VideoError(self._too_short(position, wanted))

    def check_end(self) -> None:
        """Refuse a file that broke off; call it after all frames were read.

        Two frames or 1 % may be missing, as containers count frames that players leave out; 10 %
        for .mkv and .webm files, whose count is an estimate from a duration that includes sound.

        Raises:
            VideoError: fewer frames could be read than the file says it has.
        """
        estimated = self.path.suffix.lower() in (".mkv", ".webm")
        missing = self._frame_count - self._frames_read
        if missing > max(2, self._frame_count * (0.1 if estimated else 0.01)):
            raise VideoError(
                f"{self.path}: the video breaks off after {self._frames_read} of "
                f"{self._frame_count} frames; replace it"
            )

    def _due(self, source_index: int) -> int:
        return output_index(source_index, self._ratio)

    def _retrieve(self) -> Frame:
        ok, frame = self._capture.retrieve()
        if not ok:
            raise VideoError(f"{self.path}: OpenCV cannot decode a frame; replace the video")
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def _rate_ratio(self) -> Fraction:
        if self._frame_rate is None:
            return Fraction(1)
        own_rate = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0 < own_rate < 1e6:
            raise VideoError(
                f"{self.path}: the file does not say its frame rate, which frame_rate="
                f"{self._frame_rate:g} needs; write the video anew"
            )
        # The exact rate behind the rounded number: 29.97002997 is 30000/1001.
        return _exact(self._frame_rate) / _exact(own_rate)

    def _too_short(self, position: int, wanted: int) -> str:
        rate, cure = "", "correct the frame count in the list file or replace the video"
        if self._frame_rate is not None:
            rate = f" at frame_rate={self._frame_rate:g}"
            cure = "set frame_rate= to that of the list's frame counts, or replace the video"
        readable = self._due(position - 1) + 1 if position else 0
        return (
            f"{self.path}: the video ends after {readable} readable frames{rate} but frame {wanted}"
            f" is needed; {cure}"
        )


def _exact(rate: float) -> Fraction:
    return Fraction(rate).limit_denominator(10_000)


class VideoFileReader:
    """Reads the videos of a list from video files.

    Args:
        root: folder that no video may leave, without links.
        frame_rate: frames a second; None is each video's own rate.
    """

    def __init__(self, root: Path, frame_rate: float | None = None):
        self._root = root
        self.frame_rate = frame_rate

    def read(self, path: Path, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Frames of the video that a list calls `path`; see `listed_videos`."""
        with OpenVideo(self.find(path), self.frame_rate) as video:
            yield from video.read(indices)

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`."""
        return {"media": "videos", "frame_rate": self.frame_rate, "decoder": "opencv"}

    def find(self, path: Path) -> Path:
        """The file of a video: `path` itself, or with one of the usual extensions.

        Raises:
            VideoError: there is none or there are several, or a link leaves the data folder.
        """
        suffixes = ("", *VIDEO_SUFFIXES, *(suffix.upper() for suffix in VIDEO_SUFFIXES))
        candidates = [path.with_name(path.name + suffix) for suffix in suffixes]
        found = [candidate for candidate in candidates if candidate.is_file()]
        if not found:
            raise VideoError(
                f"{path}: no such video file, nor with {', '.join(VIDEO_SUFFIXES)} behind it; "
                "correct the list or bring the video"
            )
        if len(found) > 1:
            names = ", ".join(str(candidate) for candidate in found)
            raise VideoError(f"{path}: {names} all have this name; remove all but one")
        return stays_inside(found[0], self._root)


def stays_inside(path: Path, root: Path) -> Path:
    """The path, if it lies below `root` when its links are followed.

    Raises:
        VideoError: it does not.
    """
    if not path.resolve().is_relative_to(root):
        raise VideoError(
            f"{path}: a link that leaves the data folder {root}; bring the video into it, or make "
            "the whole folder a link"
        )
    return path


def write_mp4(
    path: Path, frames: Iterable[npt.NDArray[np.uint8]], frames_per_second: float
) -> None:
    """Write RGB uint8 frames `(H, W, 3)` as an mp4v `.mp4`, through OpenCV alone.

    Raises:
        OSError: OpenCV cannot write the file.
    """
    writer: cv2.VideoWriter | None = None
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    for frame in frames:
        if writer is None:
            height, width = frame.shape[:2]
            writer = cv2.VideoWriter(str(path), fourcc, frames_per_second, (width, height))
            if not writer.isOpened():
                raise OSError(f"OpenCV cannot write {path}: is the folder there and writable?")
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if writer is None:
        raise ValueError(f"no frames to write to {path}")
    writer.release()
