"""The classes of the configured data set, without opening its videos."""

from __future__ import annotations

from adafocus_env.data import find_files
from adafocus_env.data.catalog import TASKS
from adafocus_env.data.lists.list_files import read_class_file
from train.config.sections import RunConfig


def dataset_class_names(config: RunConfig) -> tuple[str, ...] | None:
    """Names from the class file below `data_dir`, or None where no `data_dir` is given.

    The built-in videos have their names without one.

    Raises:
        FileNotFoundError: the class file does not exist.
        ListFileError: it cannot be used.
    """
    if config.data_dir is None:
        return TASKS[config.dataset].class_names if config.dataset in TASKS else None
    files = find_files(config.dataset, data_dir=config.data_dir, lists=config.lists)
    return read_class_file(files.class_file, num_classes=files.lists.num_classes)


def declared_num_classes(config: RunConfig) -> int | None:
    """How many classes the data set has whatever its class file says; None is any number."""
    if config.dataset in TASKS:
        return len(TASKS[config.dataset].class_names)
    return find_files(config.dataset, data_dir=".", lists=config.lists).lists.num_classes
