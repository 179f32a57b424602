"""Where a data set's lists, class file, videos and frames lie, as published or of one's own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from adafocus_env.data.lists.list_files import ListFormat
from adafocus_env.data.media.frame_folders import IMAGE_TEMPLATE, FrameFolderReader
from adafocus_env.data.media.stall import DECODE_TIMEOUT
from adafocus_env.data.media.video_files import VideoFileReader

MEDIA = ("frames", "videos")
TARGETS_FILE = "{split}_targets.npy"  # where in its frames a video should be looked at


@dataclass(frozen=True)
class VideoLists:
    """The files of a data set, relative to `data_dir`.

    Attributes:
        list_file: one video a line; `{split}` stands for the split's name.
        class_file: one class name a line.
        video_dir: folder that the paths in the lists are relative to, with `media="videos"`.
        frame_dir: the same with `media="frames"`.
        separator: between the columns of the list; a blank is any run of white space.
        multi_label: False: lines are `path,frames,label`, and the path may contain the separator;
            True: `path,frames,label[,label ...]`, and it may not.
        image_template: file name of a frame with its number.
        first_frame: number of a video's first frame.
        min_frames: videos with fewer frames are left out, with a warning in the log.
        num_classes: how many classes the class file must have; None takes any number.
    """

    list_file: str = "{split}.txt"
    class_file: str = "classes.txt"
    video_dir: str = "videos"
    frame_dir: str = "frames"
    separator: str = ","
    multi_label: bool = False
    image_template: str = IMAGE_TEMPLATE
    first_frame: int = 1
    min_frames: int = 1
    num_classes: int | None = None

    def __post_init__(self) -> None:
        """Check types, which a configuration does not, and values that would fail late.

        Raises:
            ValueError: a value cannot be used; the message names it and the cure.
        """
        for item in fields(self):
            value, kind = getattr(self, item.name), type(item.default)
            kind = int if item.name == "num_classes" and value is not None else kind
            if type(value) is not kind:
                raise ValueError(f"lists: {item.name}={value!r} must be of type {kind.__name__}")
        if not self.separator or "\n" in self.separator:
            raise ValueError(f"lists: separator={self.separator!r} must be a text such as ','")
        if self.min_frames < 1:
            raise ValueError(f"lists: min_frames={self.min_frames} must be at least 1")
        if self.first_frame < 0:
            raise ValueError(f"lists: first_frame={self.first_frame} must be 0 or more")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"lists: num_classes={self.num_classes} must be at least 1")
        if any(brace in self.list_file.replace("{split}", "") for brace in "{}"):
            raise ValueError(f"lists: list_file={self.list_file!r} must be like '{{split}}.txt'")
        if not _has_number(self.image_template):
            raise ValueError(
                f"lists: image_template={self.image_template!r} must be like {IMAGE_TEMPLATE!r}"
            )

    @property
    def list_format(self) -> ListFormat:
        """How the list files are written."""
        return ListFormat(self.separator, self.multi_label, self.min_frames)


def _has_number(template: str) -> bool:
    if re.search(r"\d{4}", template):  # a width that fills the memory
        return False
    try:
        return template.format(1) != template.format(2)
    except (ValueError, IndexError, KeyError):
        return False


_ACTNET = VideoLists(
    list_file="actnet_{split}_split.txt",
    class_file="classInd.txt",
    multi_label=True,
    min_frames=3,
)


def _something(version: str, frame_dir: str, image_template: str) -> VideoLists:
    """Something-Something in a folder of its own below `data_dir`."""
    folder = f"something-something-{version}"
    return VideoLists(
        list_file=f"{folder}/{{split}}_videofolder.txt",
        class_file=f"{folder}/category.txt",
        video_dir=f"{folder}/videos",
        frame_dir=f"{folder}/{frame_dir}",
        separator=" ",
        image_template=image_template,
        min_frames=3,
        num_classes=174,
    )


# Lists, class files and folders as prepared for the published code.
PRESETS: dict[str, VideoLists] = {
    "glyphs": VideoLists(),
    "videos": VideoLists(),
    "actnet": _ACTNET,
    "fcvid": replace(_ACTNET, list_file="fcvid_{split}_split.txt", num_classes=239),
    "minik": VideoLists(
        list_file="mini_{split}_videofolder.txt",
        class_file="minik_classInd.txt",
        separator=" ",
        min_frames=3,
    ),
    "sthsth_v1": _something("v1", "20bn-something-something-v1", "{:05d}.jpg"),
    "sthsth_v2": _something("v2", "20bn-something-something-v2-frames", "{:06d}.jpg"),
}
# The built-in tasks, which are drawn in memory. Of them only `glyphs` can also be files.
BUILT_IN = (
    *("glyphs", "glyphs_memory", "glyphs_memory_flicker", "glyphs_order"),
    *("glyphs_search", "glyphs_search_marks", "glyphs_search_discs", "glyphs_search_digits"),
)
DATASETS = (*PRESETS, *(name for name in BUILT_IN if name not in PRESETS))
# Data sets in which left and right have a meaning: their clips are never mirrored.
NEVER_MIRRORED = (*BUILT_IN, "sthsth_v1", "sthsth_v2")
_PUBLISHED = ("actnet", "fcvid", "minik", "sthsth_v1", "sthsth_v2")


@dataclass(frozen=True)
class DataFiles:
    """Where a data set's files are.

    Attributes:
        data_dir: folder of all of them.
        lists: their names.
        media: `"frames"` or `"videos"`.
        frame_rate: frames a second to read video files at.
        decode_timeout: seconds without a packet after which a video file is given up; None: never.
        index_folder: where indices of long video files are kept; None: nowhere.
    """

    data_dir: Path
    lists: VideoLists
    media: str
    frame_rate: float | None = None
    decode_timeout: float | None = DECODE_TIMEOUT
    index_folder: Path | None = None

    @property
    def class_file(self) -> Path:
        """One class name a line."""
        return self.data_dir / self.lists.class_file

    @property
    def root(self) -> Path:
        """The folder that paths in the lists are relative to."""
        frames = self.media == "frames"
        return self.data_dir / (self.lists.frame_dir if frames else self.lists.video_dir)

    def list_file(self, split: str) -> Path:
        """The list of a split."""
        return self.data_dir / self.lists.list_file.replace("{split}", split)

    def reader(self) -> FrameFolderReader | VideoFileReader:
        """Reads frames of the videos that the lists name."""
        if self.media == "frames":
            lists = self.lists
            return FrameFolderReader(self.root.resolve(), lists.image_template, lists.first_frame)
        return VideoFileReader(
            self.root.resolve(),
            self.frame_rate,
            decode_timeout=self.decode_timeout,
            index_folder=self.index_folder,
        )


def find_files(
    dataset: str,
    *,
    data_dir: str | Path | None,
    lists: Mapping[str, Any] | VideoLists | None = None,
    media: str | None = None,
    frame_rate: float | None = None,
    decode_timeout: float | None = DECODE_TIMEOUT,
    index_folder: Path | None = None,
) -> DataFiles:
    """Where the files of a data set on disk are; see `open_videos` for the arguments.

    Raises:
        ValueError: unknown data set, one that is drawn in memory only, no `data_dir`, or a
            `frame_rate` for extracted frames.
        TypeError: `lists` has an unknown name.
        FileNotFoundError: there is no folder of videos or frames.
    """
    if dataset not in DATASETS:
        raise ValueError(f"unknown dataset {dataset!r}; known are {', '.join(DATASETS)}")
    if dataset not in PRESETS:
        raise ValueError(
            f"the videos of dataset={dataset} are drawn in memory and have no files; leave out "
            "data_dir"
        )
    known = [item.name for item in fields(VideoLists)]
    for name in () if isinstance(lists, VideoLists) else lists or ():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
            raise TypeError(f"lists has no {name!r}; did you mean {near[0]}?")
    names = lists if isinstance(lists, VideoLists) else replace(PRESETS[dataset], **(lists or {}))
    media = media or ("frames" if dataset in _PUBLISHED else "videos")
    folder = Path(data_dir or "")
    files = DataFiles(folder, names, media, frame_rate, decode_timeout, index_folder)
    if data_dir is None:
        train, val = (names.list_file.replace("{split}", split) for split in ("train", "val"))
        raise ValueError(
            f"dataset={dataset} needs data_dir=FOLDER with {train}, {val}, {names.class_file} and "
            f"{files.root}/"
        )
    if frame_rate is not None and media == "frames":
        raise ValueError(
            "frame_rate is for media=videos; extracted frames have the rate they were extracted "
            "at: extract-frames frame_rate=..."
        )
    return files
