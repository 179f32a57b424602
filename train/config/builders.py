"""From the configuration to objects: the networks' sizes, videos, class names."""

from __future__ import annotations

from adafocus_env.data import VideoOptions, Videos, find_files, open_videos
from adafocus_env.data.catalog import TASKS
from adafocus_env.data.lists.list_files import read_class_file
from adafocus_env.data.media.packet_index import INDEX_FOLDER
from adafocus_env.networks import AnyRecognizerConfig, RecognizerConfig, ShiftRecognizerConfig
from agents.sb3.registry import CUSTOM, algorithm_arguments
from train.config.keys import ConfigError
from train.config.learning import AlgorithmSection
from train.config.sections import ClassesSection, NetworksSection, Section, VideosSection


def recognizer_config(config: NetworksSection, class_names: tuple[str, ...]) -> AnyRecognizerConfig:
    """The configured sizes of a recognizer, of the configured family.

    Raises:
        ConfigError: they do not go together.
    """
    names = (
        *("num_frames", "frame_size", "patch_size", "glance_size", "glance_resize"),
        *("glancer", "focuser", "dropout", "activation_cap"),
    )
    shared = {name: getattr(config, name) for name in names}
    if config.family == RecognizerConfig.family:
        return RecognizerConfig(class_names, hidden_dim=config.need("hidden_dim"), **shared)
    own = ("num_glance_frames", "video_div", "temporal_shift")
    try:
        return ShiftRecognizerConfig(
            class_names, **shared, **{name: config.need(name) for name in own}
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
    options = VideoOptions(
        num_frames=num_frames,
        frame_size=config.frame_size,
        augment=training,
        crop=config.crop,
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
    return open_videos(config.dataset, split, options, data_dir=config.data_dir, lists=config.lists)


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


def check_algorithm(config: Section) -> None:
    """Refuse unknown algorithms and arguments at once, where the command has one.

    A class of the user's own is looked at where it is used.

    Raises:
        ValueError: the message has the nearest name.
    """
    if not isinstance(config, AlgorithmSection):
        return
    algo = config.algo
    if algo.class_path is None and algo.name != CUSTOM:
        algorithm_arguments(algo.name, algo.preset, algo.arguments)
