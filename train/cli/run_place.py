"""Which folder a command writes to, where the command line does not say it for good."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
    SWEEPS,
    find_continued,
    new_folder,
    refuse_to_lose,
    shared_new_folder,
)
from train.runs.lock import in_use
from train.runs.sweep import in_sweep_folder

DEMO_FOLDER = OUTPUTS / "demo"
_SOURCES = ("output_dir", "resume", "recognizer")


@contextmanager
def placed(
    command: str, overrides: Sequence[str], *, sweep: bool, processes: bool, own_files: bool = True
) -> Iterator[list[str]]:
    """The command line with the folder that the command writes to, while it runs.

    A folder that was made for it goes, if the command has written nothing into it.

    Args:
        command: its name.
        overrides: read.
        sweep: whether it is one.
        processes: whether several processes may share the command.
        own_files: whether Hydra knows no other folders of files; those may name a default folder.

    Raises:
        ConfigError: the folder holds another run or an unfinished one, or cannot be agreed on.
    """
    own_files = own_files and not _names("hydra.searchpath", overrides)
    line = _placed(command, overrides, sweep=sweep, processes=processes, own_files=own_files)
    try:
        yield line
    finally:
        for item in line[len(overrides) :]:
            with suppress(OSError):  # there is something in it
                Path(item.partition("=")[2]).rmdir()


def _placed(
    command: str, overrides: Sequence[str], *, sweep: bool, processes: bool, own_files: bool
) -> list[str]:
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and not processes:
        raise ConfigError(f"{command} runs in one process; start it without torchrun")
    if sweep:  # each job has a folder of its own
        if own_files and not _names("output_dir", overrides) | _names("hydra.sweep.dir", overrides):
            return [*overrides, f"hydra.sweep.dir={new_folder(SWEEPS)}"]
        return in_sweep_folder(overrides)
    given = value_of("output_dir", overrides)
    folder = None if given is None else Path(given)
    if command == "demo" and folder is None:
        if DEMO_FOLDER.is_dir():
            with in_use(DEMO_FOLDER, "adafocus demo", "output_dir"):  # refuses that of another
                pass
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
        return [*overrides, f"output_dir={shared_new_folder(OUTPUTS)}"]
    if folder is None and own_files:
        return [*overrides, f"output_dir={new_folder(OUTPUTS)}"]
    return list(overrides)


def _names(key: str, overrides: Sequence[str]) -> bool:
    """Whether a command line has a value for a key."""
    return any(item.lstrip("+").partition("=")[0] == key for item in overrides)


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
