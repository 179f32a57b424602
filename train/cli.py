"""`adafocus COMMAND key=value ...`, the same as `python -m train COMMAND ...`.

Nothing heavy is imported before a command runs: help and version come at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import adafocus_env
from train.command_help import Command, command_help, overview, unknown_command
from train.configs_path import configs_path

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from train.config import RunConfig


_DATA_KEYS = (
    ("experiment=NAME", "glyphs (built-in, default), videos (your own), actnet_patch128, ..."),
    ("data_dir=FOLDER", "where the list files, the class file and the videos are"),
)
_FEATURES_KEYS = (
    ("features=live|bank:PATH", "run the networks, or use what 'adafocus bank' stored"),
    ("bank_device=auto|cpu|cuda", "where the bank lies"),
)
_FIT_KEYS = (
    ("epochs=N batch_size=N", "length of training, videos an update"),
    ("seed=N device=cpu|cuda", "chance and place"),
)

COMMANDS = {
    "demo": Command(
        "train.demo:demo",
        "make videos, train all four stages, benchmark: the whole thing on built-in videos",
        (
            ("seed=N", "of training; the videos stay the same"),
            ("ship=true", "also write the stage-1 recognizer into the package's assets"),
        ),
    ),
    "make-videos": Command(
        "train.commands:make_videos_command",
        "write the built-in videos as mp4 files with their list files",
        (("data_dir=FOLDER", "where to; default outputs/glyphs"), ("num_workers=N", "processes")),
    ),
    "extract-frames": Command(
        "train.commands:extract_frames_command",
        "write the frames of videos as JPEG folders, as the published code reads them",
        (
            ("source=FOLDER", "the videos, with any folders in it"),
            ("target=FOLDER", "where to; one folder of image_00001.jpg ... a video"),
            ("height=360|none", "height of the frames in pixels, or as they are"),
            ("frame_rate=N", "frames a second; default the video's own"),
            ("num_workers=N", "processes"),
        ),
    ),
    "check-data": Command(
        "train.commands:check_data_command",
        "look for everything in a data set that would break training",
        (
            ("experiment=NAME", "actnet_patch128, ..., or dataset=actnet|fcvid|minik|videos"),
            ("data_dir=FOLDER", "where the list files, the class file and the videos are"),
            ("media=frames|videos", "read JPEG folders or video files"),
            ("num_workers=N", "processes"),
        ),
    ),
    "convert": Command(
        "train.commands:convert_command",
        "read a published checkpoint, or write one",
        (
            ("source=FILE|RUN", "a published .pth.tar; with format=published a run folder"),
            ("target=FOLDER|FILE", "where to write"),
            ("format=ours|published", "what to write"),
            ("experiment=NAME", "actnet_patch128, ...: sizes that the file does not hold"),
        ),
    ),
    "flops": Command(
        "train.commands:flops_command",
        "multiply-adds per video of any configuration, by part",
        (("experiment=NAME", "actnet_patch128, ..."), ("patch_size=N num_frames=N", "sizes")),
    ),
    "stage0": Command(
        "train.commands:stage0",
        "fine-tune the glancer or the focuser on whole frames",
        (("pretrain_glancer=true|false", "the glancer, or the focuser"), *_DATA_KEYS, *_FIT_KEYS),
    ),
    "stage1": Command(
        "train.commands:stage1",
        "train focuser and classifier on random patches",
        (
            ("pretrained_glancer=RUN", "run folder of stage0 pretrain_glancer=true"),
            ("pretrained_focuser=RUN", "run folder of stage0 pretrain_glancer=false"),
            ("skip_rate=0.5|random", "frames left out by chance, so that it knows skipped ones"),
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "stage2": Command(
        "train.commands:stage2",
        "train the policy by reinforcement learning",
        (
            ("resume=RUN", "run folder of stage1"),
            ("algo=NAME", "gru_ppo, ppo, a2c, dqn, recurrent_ppo, trpo, qrdqn, sac, td3, custom"),
            ("algo.preset=demo|paper|tuned", "a set of gru_ppo's arguments"),
            ("algo.learning_rate=1e-3 ...", "any argument of the algorithm"),
            ("algo.class_path=pkg.Class", "an algorithm of your own"),
            ("locations=grid|continuous", "where patches may be; sac and td3 are continuous"),
            ("locations=skip reward=skip", "an action more that skips the frame (AdaFocus+)"),
            ("skip_cost=0.05|random", "what a look costs; random: one policy for every cost"),
            ("observation=map|vector", "what the policy sees"),
            ("reward=NAME", "random, expected, padding, prev, conf or skip"),
            ("action_dim=49", "positions of the grid: 16, 25, 36, 49 or 64"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "stage3": Command(
        "train.commands:stage3",
        "fine-tune the classifier on the patches of a policy",
        (
            ("resume=RUN", "run folder of stage2 (or of stage1, with policy=)"),
            ("policy=random|center|RUN", "whose patches; default: the policy in resume"),
            ("skip_rate=0.5|random", "frames left out by chance, so that it knows skipped ones"),
            ("trust=true", "open policy=FILE.zip of SB3, which can run code"),
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "bank": Command(
        "train.commands:bank",
        "compute a split's features once, for stage2, evaluate and benchmark",
        (
            ("resume=RUN", "run folder with the recognizer (stage1)"),
            ("target=FOLDER", "the bank goes to FOLDER/SPLIT: one folder for all splits"),
            ("split=train|val|test", "stage2 needs train and val"),
            ("views=K", "clips of each training video; an episode shows one of them"),
            ("action_dim=49", "positions of the grid: 16, 25, 36, 49 or 64"),
            ("num_workers=N", "processes that load clips"),
            *_DATA_KEYS,
        ),
    ),
    "evaluate": Command(
        "train.commands:evaluate",
        "judge one policy with one recognizer by the published protocol",
        (
            ("resume=RUN", "run folder with the recognizer (stage1, stage2 or stage3)"),
            (
                "policy=random|center|...|RUN",
                "default: the policy in resume; without one",
            ),
            ("policy=random_offsets", "  patches at random pixels, as stage 1 is validated"),
            ("skip_cost=0.05", "told to a policy that learned at random costs of a look"),
            ("trust=true", "open policy=FILE.zip of SB3, which can run code"),
            ("split=train|val|test", "default test, val for the published data sets"),
            ("map_rule=standard|published", "published: with its shift where a class is absent"),
            ("map_labels=all|first", "of a video's labels"),
            ("reward=NAME", "also measure rewards; by default none, at half the cost"),
            ("batch_size=64", "videos at a time; changes no result"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
        ),
    ),
    "benchmark": Command(
        "train.commands:benchmark",
        "compare policies, each with its own classifier and all with the same",
        (
            ("resume=RUN", "run folder of stage2: common recognizer and learned policy"),
            ("policies=[random,center,...]", "default random, center, learned, greedy_oracle;"),
            ("", "  also random_offsets, fixed:24, sweep, saliency, beam_oracle:4"),
            ("policies=[NAME:RUN,...]", "learned policies; a name given twice: two seeds"),
            ("policies=[NAME@0.05:RUN]", "  told that a look costs 0.05 (AdaFocus+)"),
            ("policies=[random_skip:N:P]", "  P's looks in N of the frames, a rate or as many as"),
            ("policies=[uniform_skip:4:P]", "  policy N; at random, or 4 that are evenly spread"),
            ("runs=FOLDER", "the stage-2 runs of a sweep, for learned, by algorithm"),
            ("runs={learned: RUN, ...}", "stage-3 run folders: the policies' own classifiers"),
            ("train_gap=true", "also judge on the training split"),
            ("conditional_exit=true", "accuracy by budget: stop where the answer is certain"),
            ("player_videos=[0,5]", "videos in the report's player"),
            ("split=train|val|test", "default test"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
        ),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview(COMMANDS))
        return 0 if given else 2
    if given[0] == "--version":
        print(f"adafocus-env {adafocus_env.__version__}")
        return 0
    name, overrides = given[0], given[1:]
    if name not in COMMANDS:
        print(unknown_command(name, COMMANDS), file=sys.stderr)
        return 2
    if any(item in ("-h", "--help") for item in overrides):
        print(command_help(name, COMMANDS[name]))
        return 0
    return _run(name, overrides)


def _run(name: str, overrides: list[str]) -> int:
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Before torch is imported: its threads otherwise spin at every barrier, which makes training
    # ten times slower when another process wants one of two cores; sleeping costs nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import hydra

    from train.algo_overrides import allow_any_argument, check_options
    from train.config import ConfigError, check_override_names, register_resolvers
    from train.published_keys import translate

    register_resolvers()
    try:
        overrides = translate(overrides)
        check_override_names(overrides)
        check_options(overrides, configs_path())
        overrides = allow_any_argument(overrides)
        arguments = [f"command={name}", *_place(name, overrides)]
    except ConfigError as error:
        print(f"adafocus {name}: {error}", file=sys.stderr)
        return 2
    codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(configs_path()), config_name="config")
    def task(cfg: DictConfig) -> None:
        codes.append(_call(name, cfg))

    # Hydra's argument parser wants its flags before the values.
    sys.argv = ["adafocus", *sorted(arguments, key=lambda item: not item.startswith("-"))]
    task()
    return max(codes, default=0)


def _place(name: str, overrides: list[str]) -> list[str]:
    """The overrides with the folder that the command writes to, where it is not Hydra's default.

    Raises:
        ConfigError: the folder holds an unfinished run, or cannot be agreed on.
    """
    from train.config import ConfigError
    from train.run_folder import OUTPUTS, STAGES, STATE_FILE, find_continued, shared_stamp

    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and name not in (*STAGES, "bank"):
        raise ConfigError(f"{name} runs in one process; start it without torchrun")
    # Hydra's own flags only show something, or make a folder for each job of a sweep.
    if any(item.startswith("-") for item in overrides):
        return overrides
    given = dict(item.partition("=")[::2] for item in overrides)
    folder = Path(given["output_dir"]) if "output_dir" in given else None
    if name == "demo" and folder is None:
        from train.demo_folder import DEMO_FOLDER, set_aside

        set_aside(DEMO_FOLDER)
        return [*overrides, f"output_dir={DEMO_FOLDER}"]
    unfinished = folder is not None and (folder / STATE_FILE).is_file()
    if name in STAGES and (unfinished or "resume" in given):
        continued = find_continued(_peek(name, overrides), folder)
        if continued is not None:
            sources = [f"{key}={value or 'null'}" for key, value in continued.sources.items()]
            kept = [item for item in overrides if item.partition("=")[0] not in _SOURCES]
            return [*kept, *sources, f"output_dir={continued.folder}"]
    if folder is None and not alone:
        return [*overrides, f"output_dir={OUTPUTS / shared_stamp()}"]
    return overrides


_SOURCES = ("output_dir", "resume", "recognizer")


def _peek(name: str, overrides: list[str]) -> RunConfig:
    """The configuration that Hydra will make of the overrides.

    Raises:
        ConfigError: it cannot be made.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    from train.config import ConfigError, read_config

    try:
        with initialize_config_dir(str(configs_path()), version_base="1.3"):
            return read_config(compose("config", overrides=[f"command={name}", *overrides]))
    except HydraException as error:
        raise ConfigError(str(error)) from error


def _call(name: str, cfg: DictConfig) -> int:
    """Call a command's function; a user's mistake becomes one line, and a file `error.log`."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from rich.console import Console

    from train.algo_overrides import check_algorithm
    from train.allocator import keep_freed_memory
    from train.config import read_config
    from train.progress import ProgressDisplay

    module, function = COMMANDS[name].function.split(":")
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:  # each job of a sweep has a folder of its own
        cfg.output_dir = hydra_config.runtime.output_dir
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rank = int(os.environ.get("RANK", "0"))
    if rank:  # one process of a run speaks for all
        logging.disable(logging.WARNING)
    try:
        check_algorithm(read_config(cfg))
        keep_freed_memory()
        run: Callable[[DictConfig, ProgressDisplay], None]
        run = getattr(importlib.import_module(module), function)
        with ProgressDisplay(Console(quiet=True) if rank else None) as display:
            run(cfg, display)
    except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
        if not _is_users_mistake(error):
            raise
        error_log = folder / (f"error.rank{rank}.log" if rank else "error.log")
        error_log.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"adafocus {name}: {error}", file=sys.stderr)
        return 1
    return 0


def _is_users_mistake(error: Exception) -> bool:
    """Errors that explain themselves: ours, bad arguments, files that cannot be read or written."""
    from adafocus_env.data import ListFileError, VideoError
    from adafocus_env.networks import CheckpointError
    from train.config import ConfigError

    ours = (
        *(ListFileError, VideoError, CheckpointError, ConfigError, OSError),
        FloatingPointError,  # a loss that is not finite; its message says what to lower
    )
    return isinstance(error, ours) or type(error) is ValueError
