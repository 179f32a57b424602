"""Videos of equal content under different names: a copy of a training video in another split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path

from adafocus_env.data import DataFiles, VideoError
from adafocus_env.data.lists.list_files import ListContents, VideoRecord
from adafocus_env.data.media.frame_folders import FrameFolderReader
from adafocus_env.data.media.video_files import VideoFileReader
from adafocus_env.files import regular

_Place = tuple[str, VideoRecord]


def find_copies(files: DataFiles, contents: Mapping[str, ListContents]) -> list[str]:
    """A line for each content that lies in several splits, under different names.

    Only videos whose files are equally large are read.

    Args:
        files: the data set.
        contents: of its lists, by split.
    """
    reader = files.reader()
    read: dict[Path, list[Path]] = {}  # what is read of a video
    places: list[_Place] = []
    for split, content in contents.items():
        for record in content.records:
            try:
                read[record.path] = _files(reader, record)
            except (VideoError, OSError):
                continue  # it is reported as unreadable
            places.append((split, record))
    groups = _alike(places, lambda path: _sizes(read[path]))
    groups = [same for group in groups for same in _alike(group, lambda p: _digest(read[p]))]
    return [_line(files, group) for group in groups]


def _files(reader: FrameFolderReader | VideoFileReader, record: VideoRecord) -> list[Path]:
    """What is read of a video.

    Raises:
        VideoError: it is not there.
        OSError: a frame of it is not there.
    """
    found = reader.find(record.path)
    if not isinstance(reader, FrameFolderReader):
        return [found]
    images = []
    for index in range(record.num_frames):
        images.append(reader.image(found, index))
        images[-1].stat()  # the list may promise millions
    return images


def _alike(places: Iterable[_Place], of: Callable[[Path], Hashable]) -> list[list[_Place]]:
    """Those that agree in something, where they are of several splits."""
    groups: dict[Hashable, list[_Place]] = defaultdict(list)
    for split, record in places:
        groups[of(record.path)].append((split, record))
    return [
        group
        for group in groups.values()
        if len({split for split, _ in group}) > 1 and len({record.path for _, record in group}) > 1
    ]


def _sizes(paths: Iterable[Path]) -> tuple[int, ...]:
    return tuple(path.stat().st_size for path in paths)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with regular(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _line(files: DataFiles, group: Iterable[_Place]) -> str:
    named = ", ".join(f"{files.list_file(s)}:{r.line} ({r.path.name})" for s, r in group)
    return (
        f"{named}: the same content under different names in several splits: results on a split "
        "that was trained on mean nothing; keep one of the lines"
    )
