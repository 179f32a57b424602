"""`adafocus COMMAND key=value ...`, the same as `python -m train COMMAND ...`.

Nothing heavy is imported before a command runs: help and version come at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adafocus_env
from train.cli.help import command_help, overview, unknown_command
from train.config.commands import COMMANDS

if TYPE_CHECKING:
    from hydra.conf import HydraConf
    from omegaconf import DictConfig

    from train.config.sections import Section
    from train.runs.progress import ProgressDisplay

_NOBODY_READS = 141  # as a shell calls the end by SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python writes out what is left when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    return code


def _main(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"adafocus-env {adafocus_env.__version__}")
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        print(unknown_command(name), file=sys.stderr)
        return 2
    if any(item in ("-h", "--help") for item in rest):
        print(command_help(name))
        return 0
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Before torch is imported: its threads otherwise spin at every barrier, which makes training
    # ten times slower when another process wants one of two cores; sleeping costs nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from train.cli.hydra_jobs import parse_flags, run_jobs, shows_only
    from train.cli.overrides import read_overrides
    from train.cli.run_place import placed
    from train.config.keys import ConfigError

    flags = parse_flags(arguments)
    sweep: bool = flags.multirun
    try:
        overrides = read_overrides(
            name, flags.overrides, sweep=sweep, own_files=flags.config_dir is None
        )
        if not shows_only(flags):
            processes = COMMANDS[name].processes
            overrides = placed(name, overrides, sweep=sweep, processes=processes)
        return run_jobs(call, flags, [f"command={name}", *overrides])
    except ConfigError as error:
        print(f"adafocus {name}: {error}", file=sys.stderr)
        return 2


def call(cfg: DictConfig) -> int:
    """Run a job's command; a user's mistake becomes one line, and a file `error.log`."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from train.cli.allocator import keep_freed_memory
    from train.config.compose import Composed, read_config, read_parts
    from train.config.learning import AlgorithmSection
    from train.runs.lock import in_use

    name, hydra = str(cfg.command), HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        cfg.output_dir = hydra.runtime.output_dir
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rank = int(os.environ.get("RANK", "0"))
    if rank:  # one process of a run speaks for all
        logging.disable(logging.WARNING)
    try:
        config = read_config(cfg)
        for one in (config, *read_parts(cfg)):
            if isinstance(one, AlgorithmSection):
                from train.config.builders import check_algorithm  # imports torch

                check_algorithm(one.algo)
        claimed = nullcontext() if rank else in_use(folder, f"adafocus {name}", "output_dir")
        with claimed:
            if _done_before(config, hydra):
                return 0
            keep_freed_memory()
            with _display(quiet=bool(rank)) as display:
                _start(name, config, Composed(cfg, tuple(hydra.overrides.task)), display)
    except BrokenPipeError:
        return _NOBODY_READS
    except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
        if not _is_users_mistake(error):
            raise
        error_log = folder / (f"error.rank{rank}.log" if rank else "error.log")
        error_log.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"adafocus {name}: {error}", file=sys.stderr)
        return 1
    return 0


def _start(name: str, config: Any, composed: Any, display: ProgressDisplay) -> None:
    """Call a command's function with what its kind takes."""
    command = COMMANDS[name]
    module, _, function = command.function.partition(":")
    run = getattr(importlib.import_module(module), function)
    if command.kind == "parts":
        run(composed, display)
    elif command.kind == "tool":
        run(config, display)
    else:
        from train.runs.context import RunContext

        context = RunContext(config, config.output_dir)
        try:
            run(config, context, display)
            context.processes.close()
        finally:
            context.close()
        display.say(f"results are in {config.output_dir}")


def _display(*, quiet: bool) -> ProgressDisplay:
    from rich.console import Console

    from train.runs.progress import ProgressDisplay

    class StandardOutput(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process with code 1

    return ProgressDisplay(StandardOutput(quiet=quiet))


def _done_before(config: Section, hydra: HydraConf) -> bool:
    """Whether a job of a sweep, or a run with `resume=auto`, need not be run; says so."""
    from hydra.types import RunMode

    from train.runs.sweep import is_done

    sweep = hydra.mode == RunMode.MULTIRUN
    if not sweep and getattr(config, "resume", None) != "auto":
        return False
    if sweep and hydra.job.num == 0:
        print(
            f"sweep in {hydra.sweep.dir}; the same command with "
            f"output_dir={hydra.sweep.dir} makes only what is missing"
        )
    done = is_done(config, config.output_dir)
    if done:
        settings = [item.lstrip("+") for item in hydra.overrides.task]
        shown = " ".join(item for item in settings if not item.startswith("command="))
        print(f"{config.command} {shown} is finished in {config.output_dir}: skipped")
    return done


def _is_users_mistake(error: Exception) -> bool:
    """Errors that explain themselves: ours, bad arguments, files that cannot be read or written."""
    known = (OSError, FloatingPointError)  # the latter is a loss; its message says what to lower
    ours = type(error).__module__.split(".")[0] in ("adafocus_env", "agents", "train")
    return ours or isinstance(error, known) or type(error) is ValueError
