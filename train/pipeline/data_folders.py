"""Data folders for parts of a set: lists of some of its clips, and a bank that has these."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adafocus_env.data import find_files
from adafocus_env.data.lists.list_files import SPLITS, VideoRecord, read_class_file, read_list_file
from adafocus_env.files import write_lines
from adafocus_env.folders import make_folder
from train.config.keys import ConfigError
from train.config.sections import VideosSection
from train.data_tools.make_lists.groups import GROUPS_FILE
from train.pipeline.folds import GroupedClip, read_groups, with_groups


@dataclass(frozen=True)
class Clips:
    """All clips of a user's set.

    Attributes:
        clips: those of all lists, in their order.
        given: which of them each list has.
        class_names: K names.
        has_groups: whether anything says which clips belong together.
        data: `data_dir` and `lists` of a command that reads them, but for the folder of its lists.
    """

    clips: list[GroupedClip]
    given: dict[str, list[int]]
    class_names: tuple[str, ...]
    has_groups: bool
    data: Mapping[str, Any]


def read_clips(config: VideosSection, groups: str | None) -> Clips:
    """Read the lists of a data folder, and which clips belong together.

    Args:
        config: whose data set to read.
        groups: a file of `path group` lines; None is `groups.txt` beside the lists, if it is there.

    Raises:
        ConfigError: a clip is in two lists, there are none, or the groups cannot be used.
    """
    files = find_files(
        config.dataset, data_dir=config.data_dir, lists=config.lists, media=config.media
    )
    names = read_class_file(files.class_file, num_classes=files.lists.num_classes)
    records: list[VideoRecord] = []
    given: dict[str, list[int]] = {}
    where: dict[Path, str] = {}
    for split in SPLITS:
        file = files.list_file(split)
        if split != "train" and not file.is_file():
            continue
        found = read_list_file(file, files.root, len(names), files.lists.list_format)
        for record in found:
            if record.path in where:
                raise ConfigError(
                    f"{file}: {record.path} is in {where[record.path]}, too; leave it in one list"
                )
            where[record.path] = file.name
        given[split] = list(range(len(records), len(records) + len(found)))
        records += found
    if not records:
        raise ConfigError(f"{files.list_file('train')} and the other lists hold no clips")
    file = files.data_dir / GROUPS_FILE if groups is None else Path(groups)
    if groups is not None and not file.is_file():
        raise ConfigError(f"groups={groups}: no such file; it has lines of 'path group'")
    by_path = read_groups(file, files.root.resolve()) if file.is_file() else {}
    root = str(files.root.absolute())
    lists = {
        **asdict(files.lists),
        "list_file": "{split}.txt",
        "class_file": "classes.txt",
        "frame_dir" if files.media == "frames" else "video_dir": root,
    }
    data = {"lists": lists, "media": files.media}
    return Clips(with_groups(records, by_path), given, names, bool(by_path), data)


def write_data_folder(folder: Path, clips: Clips, splits: Mapping[str, Sequence[int]]) -> None:
    """Write list files and the class file; `Clips.data` and this folder are how to read them.

    Args:
        folder: made if missing.
        clips: all of them.
        splits: which of them each list has.
    """
    lists = clips.data["lists"]
    root = lists["frame_dir" if clips.data["media"] == "frames" else "video_dir"]
    real_root = os.path.realpath(root)
    make_folder(folder)
    write_lines(folder / "classes.txt", clips.class_names)
    for split, chosen in splits.items():
        records = [clips.clips[index].record for index in chosen]
        rows = [(os.path.relpath(r.path, real_root), r.num_frames, *r.labels) for r in records]
        write_lines(
            folder / f"{split}.txt", [lists["separator"].join(map(str, row)) for row in rows]
        )


def folder_data(folder: Path, clips: Clips) -> dict[str, Any]:
    """Keys of a command that reads the lists in a folder."""
    return {**clips.data, "data_dir": str(folder)}
