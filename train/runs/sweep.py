"""Sweeps (`adafocus stage2 -m seed=0,1`): which folder a job has, and whether a run is done."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from train.config.compose import read_config
from train.config.keys import ConfigError
from train.config.sections import ResumeSection, Section
from train.runs.folder import FINISHED_FILE, STAGES, STATE_FILE, all_differences, differences
from train.runs.saved_config import CONFIG_FILE, readable_configs, saved_config

log = logging.getLogger(__name__)


def in_sweep_folder(overrides: Sequence[str]) -> list[str]:
    """A sweep's command line: its `output_dir` is the folder of the jobs' folders."""
    return [
        f"hydra.sweep.dir={item.partition('=')[2]}" if item.startswith("output_dir=") else item
        for item in overrides
    ]


def how_to_go_on(folder: str) -> str:
    """What to do when a sweep, whose jobs' folders are in this one, has not come to its end."""
    return f"the same command with output_dir={folder} makes what is missing"


def job_folder(number: int, *, _root_: DictConfig) -> str:
    """The name of a job's folder, for `hydra.sweep.subdir`.

    A stage's run with the same settings that is there already, whatever its number, so that the
    same sweep, or a larger one, does nothing twice; else the job's number, or the next free one.

    Args:
        number: of the job.
        _root_: the job's configuration with Hydra's.
    """
    sweep = Path(_root_.hydra.sweep.dir)
    taken = sorted(file.parent for file in sweep.glob(f"*/{CONFIG_FILE}"))
    command = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    if command.command in STAGES:
        config = _readable(command)
        for folder, saved in readable_configs(taken if config is not None else ()):
            if not all_differences(config, saved):
                return folder.name
        while sweep / str(number) in taken:
            number += 1
    return str(number)


def _readable(cfg: DictConfig) -> Any:
    """The configuration; None where the command itself will say what is wrong with it."""
    try:
        return read_config(cfg)
    except ConfigError:
        return None


def is_done(config: Section, folder: Path) -> bool:
    """Whether a stage is done already; what an aborted one left of its curves is removed.

    A run that can be continued is continued: it finds its state in the folder.

    Args:
        config: of a job of a sweep, or of a run with `resume=auto`, which may leave out where it
            starts from.
        folder: of the job, as `job_folder` chose it, or as the user's own `hydra.sweep.subdir`.

    Raises:
        ConfigError: the folder holds a run with other settings, or its configuration is damaged.
    """
    saved = saved_config(folder)
    if not isinstance(config, ResumeSection) or config.command not in STAGES or saved is None:
        return False
    compared = differences if config.resume == "auto" else all_differences
    different = compared(config, saved)
    unfinished, finished = ((folder / name).is_file() for name in (STATE_FILE, FINISHED_FILE))
    if different and (unfinished or finished):
        raise ConfigError(
            f"{folder} holds {'an unfinished' if unfinished else 'a finished'} run with other "
            f"settings ({'; '.join(different)}); choose another output_dir"
        )
    if different or unfinished:
        return False
    if finished:
        return True
    log.info("%s was aborted, cannot be continued and begins anew", folder)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    return False
