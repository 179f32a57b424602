"""One job: a command in its folder, and what is said when it fails."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from adafocus_env.files import remove_parts_below
from adafocus_env.folders import FolderRemovedError, held
from train.cli import ending
from train.cli.allocator import keep_freed_memory
from train.cli.errors import is_users_mistake, one_line
from train.cli.main import NOBODY_READS
from train.config.commands import COMMANDS
from train.config.compose import Composed, read_config, read_parts
from train.config.learning import AlgorithmSection
from train.runs.folder import STAGES, STATE_FILE
from train.runs.lock import in_use
from train.runs.sweep import how_to_go_on, is_done

if TYPE_CHECKING:
    from hydra.conf import HydraConf
    from omegaconf import DictConfig

    from train.config.sections import Section
    from train.runs.progress import ProgressDisplay


def run_job(cfg: DictConfig) -> int:
    """Run a job's command; a user's mistake becomes one line, and a file `error.log`.

    Raises:
        SystemExit: the folder of a whole sweep was removed: no other job may begin in it.
    """
    name, hydra = str(cfg.command), HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        cfg.output_dir = hydra.runtime.output_dir
    folder = Path(cfg.output_dir)
    sweep = str(hydra.sweep.dir) if hydra.mode == RunMode.MULTIRUN else None
    ending.now_runs(name, lambda: _how_to_go_on(name, folder, sweep))
    rank = int(os.environ.get("RANK", "0"))
    if rank:  # one process of a run speaks for all
        logging.disable(logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config = read_config(cfg)
        for one in (config, *read_parts(cfg)):
            if isinstance(one, AlgorithmSection):
                from train.config.builders import check_algorithm  # imports torch

                check_algorithm(one.algo)
        claimed = held(folder) if rank else in_use(folder, f"adafocus {name}", "output_dir")
        with claimed:
            if _done_before(config, hydra):
                return 0
            if not rank:
                remove_parts_below(folder)
            keep_freed_memory()
            with _threads_leave_disks_to_the_command(), _display(quiet=bool(rank)) as display:
                _start(name, config, Composed(cfg, tuple(hydra.overrides.task)), display)
    except BrokenPipeError:
        return NOBODY_READS
    except FolderRemovedError as error:
        print(f"adafocus {name}: {one_line(error)}", file=sys.stderr)
        if sweep is not None and not Path(sweep).is_dir():  # with the folders of the other jobs
            raise SystemExit(1) from error
        return 1
    except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
        if not is_users_mistake(error):
            raise
        error_log = folder / (f"error.rank{rank}.log" if rank else "error.log")
        with suppress(OSError):  # the disk may be what is wrong; the line says it
            error_log.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"adafocus {name}: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _how_to_go_on(name: str, folder: Path, sweep: str | None) -> str:
    """After an end by a signal, or by a full disk; `sweep` is the folder of one."""
    if sweep is not None:
        return how_to_go_on(sweep)
    if name in STAGES and (folder / STATE_FILE).is_file():
        return f"the same command with output_dir={folder} resume=auto goes on"
    if name in STAGES:
        return "run the same command again (resume=auto has nothing to go on with yet)"
    if name == "tune":
        return f"the same command with output_dir={folder} goes on"
    return "run the same command again"


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


@contextmanager
def _threads_leave_disks_to_the_command() -> Iterator[None]:
    """Let a thread that cannot write events end silently: TensorBoard tells the next who writes."""
    before = threading.excepthook

    def tell(thread: threading.ExceptHookArgs) -> None:
        if not isinstance(thread.exc_value, OSError):
            before(thread)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _display(*, quiet: bool) -> ProgressDisplay:
    from rich.console import Console

    from train.runs.progress import ProgressDisplay

    class StandardOutput(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process with code 1

    return ProgressDisplay(StandardOutput(quiet=quiet))


def _done_before(config: Section, hydra: HydraConf) -> bool:
    """Whether a job of a sweep, or a run with `resume=auto`, need not be run; says so."""
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
