"""Which folder a command writes to, where the command line does not say it for good."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from train.cli.overrides import as_override, value_of
from train.config.commands import COMMANDS
from train.config.compose import compose_command, read_config
from train.config.keys import ConfigError
from train.runs.folder import (
    OUTPUTS,
    STAGES,
    STATE_FILE,
    find_continued,
    refuse_to_lose,
    shared_stamp,
)
from train.runs.sweep import in_sweep_folder

DEMO_FOLDER = OUTPUTS / "demo"
_SOURCES = ("output_dir", "resume", "recognizer")


def placed(command: str, overrides: Sequence[str], *, sweep: bool, processes: bool) -> list[str]:
    """The command line with the folder that the command writes to, if not Hydra's default.

    Args:
        command: its name.
        overrides: read.
        sweep: whether it is one.
        processes: whether several processes may share the command.

    Raises:
        ConfigError: the folder holds another run or an unfinished one, or cannot be agreed on.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and not processes:
        raise ConfigError(f"{command} runs in one process; start it without torchrun")
    if sweep:  # each job has a folder of its own
        return in_sweep_folder(overrides)
    given = value_of("output_dir", overrides)
    folder = None if given is None else Path(given)
    if command == "demo" and folder is None:
        set_aside(DEMO_FOLDER)
        return [*overrides, f"output_dir={DEMO_FOLDER}"]
    resume = value_of("resume", overrides)
    if folder is not None and COMMANDS[command].kind != "tool":
        refuse_to_lose(folder, command, finished=resume != "auto")
    unfinished = folder is not None and (folder / STATE_FILE).is_file()
    if command in STAGES and (unfinished or resume is not None):
        continued = find_continued(read_config(compose_command(command, overrides).cfg), folder)
        if continued is not None:
            kept = [item for item in overrides if item.partition("=")[0] not in _SOURCES]
            sources = [as_override(name, value) for name, value in continued.sources.items()]
            return [*kept, *sources, as_override("output_dir", continued.folder)]
    if folder is None and not alone:
        return [*overrides, f"output_dir={OUTPUTS / shared_stamp()}"]
    return list(overrides)


def set_aside(folder: Path) -> Path | None:
    """Rename an existing folder to `FOLDER-DATE-TIME`, after when it was last written.

    Returns:
        the new name, or None where there was nothing.
    """
    if not folder.exists():
        return None
    stamp = datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
    target = folder.with_name(f"{folder.name}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = folder.with_name(f"{folder.name}-{stamp}-{number}")
    folder.rename(target)
    print(f"an earlier {folder} is now {target}")
    return target
