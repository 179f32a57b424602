"""Hydra's jobs: one run or a sweep's, and one exit code for all of them.

`hydra.main` reads `sys.argv` and drops what its function returns, also what comes back from other
processes, so this asks the class behind it, which returns the jobs.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import _run_hydra, create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adafocus_env.worker_process import follow_parent
from train.config.commands import ALL_KEYS
from train.config.compose import in_one_line, prepare_hydra
from train.config.keys import ConfigError
from train.config.yaml_files import configs_path
from train.runs.sweep import job_folder

Task = Callable[[DictConfig], int]

_SWEEP = "hydra.mode=MULTIRUN"


def parse_flags(arguments: Sequence[str]) -> Namespace:
    """Hydra's flags, such as `-m` and `--cfg job`, and the overrides between them.

    Raises:
        ConfigError: a key is written as a flag.
    """
    for flag in (argument for argument in arguments if argument.startswith("--")):
        name, equals, value = flag[2:].replace("-", "_").partition("=")
        if name in ALL_KEYS:
            raise ConfigError(f"{flag}: keys have no dashes: {name}={value if equals else '...'}")
    flags = get_args_parser().parse_intermixed_args(list(arguments))
    flags.multirun = flags.multirun or _SWEEP in flags.overrides
    return flags


def shows_only(flags: Namespace) -> bool:
    """Whether Hydra is asked to show something, and nothing is run."""
    return bool(flags.cfg or flags.info or flags.hydra_help or flags.shell_completion)


def run_jobs(task: Task, flags: Namespace, overrides: Sequence[str]) -> int:
    """Run one job, or with `-m` those of a sweep.

    Args:
        task: called with each job's configuration; returns its exit code. Launchers send it to
            other processes.
        flags: of `parse_flags`.
        overrides: the command line, read.

    Returns:
        the highest of the exit codes.

    Raises:
        ConfigError: what Hydra cannot compose.
        OSError: the log cannot be written.
    """
    version.setbase("1.3")
    prepare_hydra()
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    if shows_only(flags):
        flags.overrides = list(overrides)
        _run_hydra(flags, get_args_parser(), task, str(configs_path()), "config")
        return 0
    search_path = create_config_search_path(str(configs_path()))
    if flags.config_dir is not None:
        folder = Path(flags.config_dir).absolute()
        if not folder.is_dir():
            raise ConfigError(f"--config-dir={flags.config_dir} is no folder")
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    hydra = Hydra.create_main_hydra2("adafocus", search_path)
    job = partial(_run_job, task, os.getpid())
    try:
        if flags.multirun:
            done = hydra.multirun("config", job, [*overrides, _SWEEP])
        else:
            done = hydra.run("config", job, [*overrides, "hydra.mode=RUN"])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_one_line(error)) from error
    except ValueError as error:  # of logging, which names the handler and not the file
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from error
        raise
    except SystemExit:  # of a job after which no other may begin
        return 1
    finally:
        GlobalHydra.instance().clear()
    return max(_codes(done), default=0)


def _run_job(task: Task, started_by: int, cfg: DictConfig) -> int:
    """A job, perhaps in a worker of a launcher, which then does not outlive the command."""
    if os.getppid() == started_by:
        _follow_once()
    return task(cfg)


_follow_once = cache(follow_parent)


def _codes(done: Any) -> Iterable[int]:
    """Of all jobs in what a sweeper returns: lists of lists of jobs."""
    if isinstance(done, JobReturn):
        yield done.return_value or 0
    elif isinstance(done, Sequence):
        for item in done:
            yield from _codes(item)
