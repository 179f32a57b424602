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
from typing import TYPE_CHECKING, Any

import adafocus_env
from train.cli.command_help import command_help, overview, unknown_command
from train.cli.command_table import COMMANDS
from train.config.paths import configs_path

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from train.config.sections import RunConfig


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

    from train.cli.overrides import allow_any_argument, check_options, check_override_names
    from train.cli.published_keys import translate
    from train.cli.resolvers import register_resolvers
    from train.config.sections import ConfigError

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
    from train.config.sections import ConfigError
    from train.runs.folder import OUTPUTS, STAGES, STATE_FILE, find_continued, shared_stamp
    from train.runs.sweep import in_sweep_folder, is_sweep

    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and name not in (*STAGES, "bank"):
        raise ConfigError(f"{name} runs in one process; start it without torchrun")
    if is_sweep(overrides):  # each job has a folder of its own
        return in_sweep_folder(overrides)
    # Hydra's other flags only show something.
    if any(item.startswith("-") for item in overrides):
        return overrides
    given = dict(item.partition("=")[::2] for item in overrides)
    folder = Path(given["output_dir"]) if "output_dir" in given else None
    if name == "demo" and folder is None:
        from train.cli.run_place import DEMO_FOLDER, set_aside

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

    from train.config.sections import ConfigError, read_config

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

    from train.cli.allocator import keep_freed_memory
    from train.cli.overrides import check_algorithm
    from train.config.sections import read_config
    from train.runs.progress import ProgressDisplay

    module, function = COMMANDS[name].function.split(":")
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        cfg.output_dir = hydra_config.runtime.output_dir
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rank = int(os.environ.get("RANK", "0"))
    if rank:  # one process of a run speaks for all
        logging.disable(logging.WARNING)
    try:
        config = read_config(cfg)
        check_algorithm(config)
        if hydra_config.mode == RunMode.MULTIRUN and _done_before(config, hydra_config):
            return 0
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


def _done_before(config: RunConfig, hydra_config: Any) -> bool:
    """Whether a job of a sweep need not be run; says so."""
    from train.runs.sweep import is_done

    if hydra_config.job.num == 0:
        print(
            f"sweep in {hydra_config.sweep.dir}; the same command with "
            f"output_dir={hydra_config.sweep.dir} makes only what is missing"
        )
    done = is_done(config, config.output_dir)
    if done:
        settings = [item.lstrip("+") for item in hydra_config.overrides.task]
        shown = " ".join(item for item in settings if not item.startswith("command="))
        print(f"{config.command} {shown} is finished in {config.output_dir}: skipped")
    return done


def _is_users_mistake(error: Exception) -> bool:
    """Errors that explain themselves: ours, bad arguments, files that cannot be read or written."""
    from adafocus_env.data import ListFileError, VideoError
    from adafocus_env.networks import CheckpointError
    from train.config.sections import ConfigError

    ours = (
        *(ListFileError, VideoError, CheckpointError, ConfigError, OSError),
        FloatingPointError,  # a loss that is not finite; its message says what to lower
    )
    return isinstance(error, ours) or type(error) is ValueError
