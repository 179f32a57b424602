"""Whether a video can be read as its line in a list says: every frame is decoded."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from adafocus_env.data import DataFiles, VideoError
from adafocus_env.data.lists.list_files import VideoRecord
from adafocus_env.data.media.frame_folders import FrameFolderReader
from adafocus_env.data.media.stall import watched
from adafocus_env.data.media.video_files import VideoFileReader

_MOST_ERRORS = 100  # frames of a folder that cannot be read: then the others are not looked at


@dataclass(frozen=True)
class VideoJob:
    """A video to check.

    Attributes:
        files: the data set.
        split: whose list it is in.
        record: its line.
        frame_size: side that its frames must have in pixels; None where they will be resized.
    """

    files: DataFiles
    split: str
    record: VideoRecord
    frame_size: int | None


@dataclass(frozen=True)
class VideoCheck:
    """What was found.

    Attributes:
        error: what would break training; None if nothing.
        warning: what is likely a mistake; None if nothing.
        num_bytes: size on disk of what training reads.
        size: (height, width) of its frames in pixels; None where they cannot be used.
        seconds: that it took.
    """

    error: str | None
    warning: str | None
    num_bytes: int
    size: tuple[int, int] | None = None
    seconds: float = 0.0


def check_video(job: VideoJob) -> VideoCheck:
    """Decode every frame that training can use."""
    began = time.monotonic()
    reader = job.files.reader()
    check = _check_folder if isinstance(reader, FrameFolderReader) else _check_file
    try:
        found = check(job, reader)  # type: ignore[arg-type]  # the reader's type chose the function
    except (VideoError, OSError, cv2.error) as error:
        found = VideoCheck(str(error), None, 0)
    return replace(found, seconds=time.monotonic() - began)


def _check_folder(job: VideoJob, reader: FrameFolderReader) -> VideoCheck:
    folder, num_frames = reader.find(job.record.path), job.record.num_frames
    errors, sizes, num_bytes, seen = [], set(), 0, 0
    for seen in range(1, num_frames + 1):
        try:
            [(_, frame)] = reader.read(job.record.path, [seen - 1])
            sizes.add(frame.shape[:2])
            num_bytes += reader.image(folder, seen - 1).stat().st_size
        except VideoError as problem:
            errors.append(str(problem))
        if len(errors) == _MOST_ERRORS:  # the list may promise millions
            break
    error = errors[0] if errors else _wrong_size(folder, sizes, job.frame_size)
    if len(errors) > 1:
        of = num_frames if seen == num_frames else f"the first {seen}"
        error = f"{len(errors)} of {of} frames cannot be read, the first: {error}"
    more = num_frames
    while reader.image(folder, more).exists():
        more += 1
    warning = None
    if more > num_frames:
        warning = (
            f"{folder}: the list says {num_frames} frames but the folder has {more}; the rest is "
            "never used; correct the frame count"
        )
    return VideoCheck(error, warning, num_bytes, _common_size(sizes))


def _check_file(job: VideoJob, reader: VideoFileReader) -> VideoCheck:
    path, num_frames = reader.find(job.record.path), job.record.num_frames
    return watched(path, reader.decode_timeout, lambda: _decode_all(job, reader, path, num_frames))


def _decode_all(job: VideoJob, reader: VideoFileReader, path: Path, num_frames: int) -> VideoCheck:
    video = reader.open(path)
    sizes = {frame.shape[:2] for _, frame in video.read(range(num_frames), peek=True)}
    there, aspect = video.num_frames, video.pixel_aspect
    warnings = []
    if there > 2 + 1.1 * num_frames:
        rate = "its own rate" if reader.frame_rate is None else f"frame_rate={reader.frame_rate:g}"
        warnings.append(
            f"the list says {num_frames} frames but the video has {there} at {rate}; the rest is "
            "never used; set frame_rate= to the list's, or correct the list"
        )
    if aspect != 1:
        warnings.append(
            f"its pixels are not square ({aspect.numerator}:{aspect.denominator}); frames are "
            "taken as they are stored; write the video anew if that is not wanted"
        )
    warning = f"{path}: {'; '.join(warnings)}" if warnings else None
    error = _wrong_size(path, sizes, job.frame_size)
    return VideoCheck(error, warning, path.stat().st_size, _common_size(sizes))


def _common_size(sizes: set[tuple[int, ...]]) -> tuple[int, int] | None:
    if len(sizes) != 1:
        return None
    ((height, width),) = sizes
    return height, width


def _wrong_size(path: Path, sizes: set[tuple[int, ...]], frame_size: int | None) -> str | None:
    named = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
    if len(sizes) > 1:
        return f"{path}: the frames have different sizes, {named}; extract them again"
    if frame_size is not None and sizes != {(frame_size, frame_size)}:
        return (
            f"{path}: frames of {named} pixels but crop=false needs {frame_size}x{frame_size}; set "
            "crop=true"
        )
    return None
