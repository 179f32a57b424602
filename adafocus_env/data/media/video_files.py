"""Video files as lists name them; writing one.

A file is opened only if it lies in the data folder and holds its own frames (`open_video`), and its
packets are indexed without decoding them (`packet_index`). A frame is reached by whichever way
decodes fewest pictures, all with the same bytes (`decoding`). It is shown as a player shows it, by
one conversion (`display`), at the video's own or another rate (`frame_rate`).
"""

from __future__ import annotations

import errno
import gc
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.container_heads import VIDEO_SUFFIXES, is_video_file
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.display import CONVERSION, Frame
from adafocus_env.data.media.nearest import nearest
from adafocus_env.data.media.open_video import stays_inside
from adafocus_env.data.media.stall import DECODE_TIMEOUT, watched
from adafocus_env.files import refusal_to_write


class VideoFileReader:
    """Reads the videos of a list from video files.

    Args:
        root: folder that no video may leave, without links.
        frame_rate: frames a second; None is each video's own rate.
        decode_timeout: seconds without a packet after which a video is given up; None: never.
        index_folder: where indices of long videos are kept; None keeps a few in memory.
    """

    def __init__(
        self,
        root: Path,
        frame_rate: float | None = None,
        *,
        decode_timeout: float | None = DECODE_TIMEOUT,
        index_folder: Path | None = None,
    ):
        self._root = root
        self.frame_rate = frame_rate
        self.decode_timeout = decode_timeout
        self._index_folder = index_folder
        self._names: dict[Path, tuple[int, dict[str, list[str]]]] = {}

    def read(self, path: Path, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Frames of the video that a list calls `path`; see `listed_videos`."""
        video = self.find(path)
        frames = watched(video, self.decode_timeout, lambda: deque(self.open(video).read(indices)))
        if gc.get_freeze_count():  # a loading process, where it takes a millisecond
            # PyAV's containers are reference cycles: until they are collected, each holds its
            # decoder's pictures, 50 MB where they have 1920 x 1080 pixels.
            gc.collect()
        while frames:  # whoever takes one may let go of it: they are large
            yield frames.popleft()

    def open(self, video: Path) -> VideoFile:
        """A file that `find` has found.

        Raises:
            VideoError: it cannot be read.
        """
        return VideoFile(video, self.frame_rate, index_folder=self._index_folder)

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`."""
        return {"media": "videos", "frame_rate": self.frame_rate, "decoder": CONVERSION}

    def find(self, path: Path) -> Path:
        """The file of a video: `path` itself, or with the extension of a video, in any case.

        Raises:
            VideoError: there is none or there are several, or a link leaves the data folder.
        """
        found = [path.name] if path.is_file() else self._with_suffix(path)
        if not found and path.exists():
            found = [path.name]  # a folder or a pipe: opening it says so
        if not found:
            raise VideoError(
                f"{path}: no such video file, nor with {', '.join(VIDEO_SUFFIXES[:4])} or another "
                f"video's extension behind it{nearest(path)}; correct the list or bring the video"
            )
        if len(found) > 1:
            names = ", ".join(str(path.with_name(name)) for name in found)
            raise VideoError(f"{path}: {names} all have this name; remove all but one")
        return stays_inside(path.with_name(found[0]), self._root)

    def _with_suffix(self, path: Path) -> list[str]:
        """Names of video files in the folder that are this one's but for their extension."""
        try:
            changed = path.parent.stat().st_mtime_ns
        except OSError:
            return []
        known = self._names.get(path.parent)
        if known is None or known[0] != changed:
            names: dict[str, list[str]] = {}
            for name in sorted(os.listdir(path.parent)):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in VIDEO_SUFFIXES and not name.startswith("._"):
                    names.setdefault(stem, []).append(name)
            known = self._names[path.parent] = changed, names
        return known[1].get(path.name, [])


class FoundVideos(NamedTuple):
    """What lies below a folder, each by name.

    Attributes:
        videos: video files.
        others: files that are none.
        outside: links that leave the folder: nothing of them is read.
    """

    videos: list[Path]
    others: list[Path]
    outside: list[Path]


def find_videos(source: Path) -> FoundVideos:
    """The video files below a folder. Links within it are followed, but no folder twice.

    `._name` files, which macOS writes beside files on other disks, are nothing.
    """
    videos: list[Path] = []
    others: list[Path] = []
    outside: set[Path] = set()
    root = source.resolve()
    seen = {root}
    for folder, subfolders, names in os.walk(source, followlinks=True):
        outside |= {path for n in (*subfolders, *names) if _leaves(path := Path(folder, n), root)}
        below = [path for name in subfolders if (path := Path(folder, name)) not in outside]
        subfolders.clear()
        for path in sorted(below, key=lambda path: (path.is_symlink(), path)):
            if (real := path.resolve()) not in seen:
                seen.add(real)
                subfolders.append(path.name)
        for path in (Path(folder, name) for name in names if not name.startswith("._")):
            if path not in outside:
                (videos if path.is_file() and is_video_file(path) else others).append(path)
    return FoundVideos(sorted(videos), sorted(others), sorted(outside))


def _leaves(path: Path, root: Path) -> bool:
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # links that go round
        return True


def write_mp4(
    path: Path, frames: Iterable[npt.NDArray[np.uint8]], frames_per_second: float
) -> None:
    """Write RGB uint8 frames `(H, W, 3)` as an mp4v `.mp4`, through OpenCV alone.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    writer: cv2.VideoWriter | None = None
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    count, level = 0, cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        for frame in frames:
            if writer is None:
                height, width = frame.shape[:2]
                writer = cv2.VideoWriter(str(path), fourcc, frames_per_second, (width, height))
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
        if writer is None:
            raise ValueError(f"no frames to write to {path}")
        writer.release()
    finally:
        cv2.utils.logging.setLogLevel(level)
    if _frames_there(path) != count:  # OpenCV does not say that it could not write
        refusal = refusal_to_write(path) or OSError(errno.EIO, "OpenCV cannot write it", str(path))
        with suppress(OSError):
            path.unlink()
        refusal.filename = str(path)
        raise refusal


def _frames_there(path: Path) -> int:
    try:
        with av.open(str(path)) as container:
            return container.streams.video[0].frames
    except (OSError, av.error.FFmpegError):
        return 0
