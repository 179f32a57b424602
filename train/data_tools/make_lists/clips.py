"""What annotations say of a clip, and the video file that they mean."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adafocus_env.data.media.container_heads import VIDEO_SUFFIXES
from adafocus_env.data.media.video_files import find_videos
from train.config.keys import ConfigError

# What others call them.
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset"), "test"),
}


@dataclass(frozen=True)
class Annotated:
    """One clip, as annotations say it.

    Attributes:
        names: what its file may be called, the most likely first.
        labels: its classes, by name or by number as text; none where it has no label.
        split: `"train"`, `"val"`, `"test"`, or None where they do not say.
        group: what it must not be torn apart from; None where they do not say.
        place: `FILE:LINE`, for messages.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    split: str | None = None
    group: str | None = None
    place: str = ""


def split_named(text: str, place: str) -> str:
    """One of `SPLITS`.

    Raises:
        ConfigError: there is none of that name.
    """
    split = split_of(text)
    if split is None:
        raise ConfigError(f"{place}: {text!r} is no split; known are {', '.join(_SPLIT_NAMES)}")
    return split


def split_of(text: str) -> str | None:
    """One of `SPLITS`, or None where it is the name of something else."""
    return _SPLIT_NAMES.get(text.strip().lower())


class VideoIndex:
    """The video files below a folder, by what annotations may call them.

    Args:
        root: the folder.

    Raises:
        ConfigError: there is no such folder, or no video in it.
    """

    def __init__(self, root: Path):
        if not root.is_dir():
            raise ConfigError(f"source={root} is no folder; it holds the videos")
        self.root = root
        videos = find_videos(root).videos
        if not videos:
            raise ConfigError(f"source={root} holds no video file")
        self.videos = [os.path.relpath(video, root) for video in videos]
        self._paths = set(self.videos)
        self._without_suffix: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for path in self.videos:
            bare = os.path.splitext(path)[0]
            self._without_suffix[bare].append(path)
            self._stems[os.path.basename(bare)].append(path)

    def find(self, names: Sequence[str]) -> str | None:
        """The path, relative to the root, of the one video that these names can mean, if any.

        A path may begin in other folders than here, lack its extension or have another, and may be
        a bare name of a file that lies anywhere below the root.
        """
        for name in names:
            found = self._find(name) or (
                self._find(name.replace("\\", "/")) if "\\" in name else None
            )
            if found is not None:
                return found
        return None

    def _find(self, name: str) -> str | None:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            return None
        for first in range(len(parts)):
            tail = "/".join(parts[first:])
            if tail in self._paths:
                return tail
            bare = _without_suffix(tail)
            for same in {tail, bare}:
                if len(self._without_suffix.get(same, ())) == 1:
                    return self._without_suffix[same][0]
        stem = self._stems.get(_without_suffix(parts[-1]), ()) or self._stems.get(parts[-1], ())
        return stem[0] if len(stem) == 1 else None


def _without_suffix(name: str) -> str:
    bare, suffix = os.path.splitext(name)
    return bare if suffix.lower() in VIDEO_SUFFIXES else name


def class_folders(index: VideoIndex) -> list[Annotated]:
    """The videos of class folders, `CLASS/...` or `SPLIT/CLASS/...`, each with its folder's name.

    Raises:
        ConfigError: a class folder without a video, or videos that lie in none.
    """
    folders = _subfolders(index.root)
    splits = {folder: split for folder in folders if (split := split_of(folder))}
    given = len(splits) > 1 or (bool(splits) and len(splits) == len(folders))
    depth = 1 if given else 0
    clips, filled = [], set()
    for path in index.videos:
        parts = path.split("/")
        if len(parts) < depth + 2 or (given and parts[0] not in splits):
            raise ConfigError(
                f"{index.root / path} lies in no class folder; put it into one, or say with "
                "annotations=FILE what it shows"
            )
        split = splits[parts[0]] if given else None
        filled.add("/".join(parts[: depth + 1]))
        clips.append(Annotated((path,), (parts[depth],), split, place=str(index.root / path)))
    below = [f"{a}/{b}" for a in splits for b in _subfolders(index.root / a)] if given else folders
    empty = sorted(set(below) - filled)
    if empty:
        raise ConfigError(
            f"{index.root / empty[0]}: a class folder without a video"
            + (f", and {len(empty) - 1} more" if len(empty) > 1 else "")
            + "; bring its videos or remove it"
        )
    return clips


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
