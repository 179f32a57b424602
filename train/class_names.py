"""The class names of the configured data set, without opening its videos."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from adafocus_env.data import VideoLists
from adafocus_env.data.glyphs import CLASS_NAMES
from adafocus_env.data.video_files import read_class_file
from train.config import RunConfig

_CLASS_FILES = {"actnet": "classInd.txt", "fcvid": "classInd.txt", "minik": "minik_classInd.txt"}


def dataset_class_names(config: RunConfig) -> tuple[str, ...] | None:
    """Names from the class file below `data_dir`, or None where no `data_dir` is given.

    The built-in videos have their names without one.

    Raises:
        FileNotFoundError: the class file does not exist.
        ListFileError: it cannot be used.
    """
    if config.data_dir is None:
        return CLASS_NAMES if config.dataset == "glyphs" else None
    default = next(item.default for item in fields(VideoLists) if item.name == "class_file")
    name = (config.lists or {}).get("class_file") or _CLASS_FILES.get(config.dataset, default)
    return read_class_file(Path(config.data_dir) / str(name))
