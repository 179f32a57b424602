"""From the configuration to objects: the networks' sizes, videos, class names."""

from __future__ import annotations

from typing import Any

from adafocus_env.data import VideoOptions, Videos, find_files, open_videos
from adafocus_env.data.catalog import TASKS
from adafocus_env.data.lists.list_files import read_class_file
from adafocus_env.data.media.packet_index import INDEX_FOLDER
from adafocus_env.networks import AnyRecognizerConfig, RecognizerConfig, ShiftRecognizerConfig
from agents.sb3.registry import CUSTOM, algorithm_arguments
from train.config.keys import ConfigError
from train.config.learning import AlgoConfig
from train.config.sections import ClassesSection, NewNetworksSection, VideosSection


def recognizer_config(
    config: NewNetworksSection, class_names: tuple[str, ...]
) -> AnyRecognizerConfig:
    """The configured sizes of a recognizer, of the configured family.

    Raises:
        ConfigError: they do not go together.
    """
    shared: dict[str, Any] = {
        "class_names": class_names,
        "num_frames": config.num_frames,
        "frame_size": config.frame_size,
        "patch_size": config.patch_size,
        "glance_size": config.glance_size,
        "glance_resize": config.glance_resize,
        "glancer": config.glancer,
        "focuser": config.focuser,
        "dropout": config.dropout,
        "activation_cap": config.activation_cap,
    }
    if config.family == RecognizerConfig.family:
        return RecognizerConfig(
            hidden_dim=config.need("hidden_dim"), classifier=config.classifier, **shared
        )
    try:
        return ShiftRecognizerConfig(
            num_glance_frames=config.need("num_glance_frames"),
            video_div=config.need("video_div"),
            temporal_shift=config.need("temporal_shift"),
            **shared,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def open_split(config: VideosSection, split: str, *, training: bool, num_frames: int) -> Videos:
    """Open a split of the configured data set as networks take it.

    Args:
        config: data set, sampling, sizes.
        split: `"train"`, `"val"` or `"test"`.
        training: random frames, crops and flips.
        num_frames: T.
    """
    options = video_options(config, training=training, num_frames=num_frames)
    return open_videos(config.dataset, split, options, data_dir=config.data_dir, lists=config.lists)


def video_options(config: VideosSection, *, training: bool, num_frames: int) -> VideoOptions:
    """How the configuration makes clips; see `open_split`."""
    return VideoOptions(
        num_frames=num_frames,
        frame_size=config.frame_size,
        augment=training and config.augment,
        crop=config.crop,
        fit=config.fit,
        flip=config.flip,
        crops=config.crops,
        num_glance_frames=config.num_glance_frames,
        keep_decoded=config.keep_decoded,
        media=config.media,
        frame_rate=config.frame_rate,
        decode_timeout=config.decode_timeout,
        index_folder=config.output_dir / INDEX_FOLDER,
        train_sampling=config.train_sampling,
        eval_sampling=config.eval_sampling,
    )


def dataset_class_names(config: ClassesSection) -> tuple[str, ...] | None:
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


def declared_num_classes(config: ClassesSection) -> int | None:
    """How many classes the data set has whatever its class file says; None is any number."""
    if config.dataset in TASKS:
        return len(TASKS[config.dataset].class_names)
    return find_files(config.dataset, data_dir=".", lists=config.lists).lists.num_classes


def check_algorithm(algo: AlgoConfig) -> None:
    """Refuse unknown algorithms and arguments at once.

    A class of the user's own is looked at where it is used.

    Raises:
        ValueError: the message has the nearest name.
    """
    if algo.class_path is None and algo.name != CUSTOM:
        algorithm_arguments(algo.name, algo.preset, algo.arguments)
