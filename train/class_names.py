"""The classes of the configured data set, without opening its videos."""

from __future__ import annotations

from adafocus_env.data import BUILT_IN, find_files
from adafocus_env.data.glyph_drawing import CLASS_NAMES
from adafocus_env.data.list_files import read_class_file
from train.config import RunConfig


def dataset_class_names(config: RunConfig) -> tuple[str, ...] | None:
    """Names from the class file below `data_dir`, or None where no `data_dir` is given.

    The built-in videos have their names without one.

    Raises:
        FileNotFoundError: the class file does not exist.
        ListFileError: it cannot be used.
    """
    if config.data_dir is None:
        return CLASS_NAMES if config.dataset in BUILT_IN else None
    files = find_files(config.dataset, data_dir=config.data_dir, lists=config.lists)
    return read_class_file(files.class_file, num_classes=files.lists.num_classes)


def declared_num_classes(config: RunConfig) -> int | None:
    """How many classes the data set has whatever its class file says; None is any number."""
    if config.dataset in BUILT_IN:
        return len(CLASS_NAMES)
    return find_files(config.dataset, data_dir=".", lists=config.lists).lists.num_classes
