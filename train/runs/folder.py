"""Which folder a command writes to: a new one, or that of an interrupted run."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from adafocus_env import files
from train.config.keys import ConfigError, keys_of
from train.config.sections import ResumeSection
from train.runs.lock import LOCK_FILE
from train.runs.saved_config import (
    CONFIG_FILE,
    DATA,
    data_fingerprint,
    readable_configs,
    saved_config,
)

STAGES = ("stage0", "stage1", "stage2", "stage3")
STATE_FILE = "training_state.pt"
FINISHED_FILE = "finished.json"
VALIDATION_FILE = "validation.json"  # what the validation split said after some of the epochs
OUTPUTS, SWEEPS = Path("outputs"), Path("multirun")
_RECORDS = (CONFIG_FILE, LOCK_FILE, "tensorboard")


@dataclass(frozen=True)
class Continued:
    """An interrupted run.

    Attributes:
        folder: of the run.
        sources: its `resume` and `recognizer`: the earlier stage that it had started from.
    """

    folder: Path
    sources: dict[str, str | None]


def find_continued(config: ResumeSection, output_dir: Path | None) -> Continued | None:
    """The interrupted run that `resume=` asks to continue, if it does and there is one.

    `resume=auto` takes the newest unfinished run of the same stage with the same configuration, in
    `output_dir` or, where none was given, in `outputs/`. `resume=PATH` continues the run in PATH if
    that is an unfinished run of this stage; otherwise PATH is an earlier stage's checkpoint.

    Args:
        config: the command's, with `resume` as given.
        output_dir: as given on the command line, or None.

    Raises:
        ConfigError: PATH is an unfinished run of this stage with another configuration; or
            `output_dir` holds an unfinished run that would be lost.
    """
    if config.command not in STAGES:
        return None
    if config.resume == "auto":
        if output_dir is not None:
            saved = _unfinished_config(output_dir)
            found = iter([] if saved is None else [(output_dir, saved)])
        else:
            found = readable_configs(_unfinished(OUTPUTS))
        for folder, saved in found:
            if not differences(config, saved):
                return _continued(folder, saved)
    elif config.resume is not None:
        folder = Path(config.resume)
        saved = _unfinished_config(folder)
        if saved is not None and saved["command"] == config.command:
            different = differences(config, saved)
            if different:
                raise ConfigError(
                    f"{folder} is an unfinished {config.command} with other settings "
                    f"({'; '.join(different)}); give the same, or start a new run without resume="
                )
            return _continued(folder, saved)
    if output_dir is not None and (output_dir / STATE_FILE).is_file():
        saved, said, cure = saved_config(output_dir), "", "add resume=auto with the same settings"
        if saved is None:
            said, cure = f" without its {CONFIG_FILE}", "restore that file"
        elif config.resume == "auto":
            said = f" with other settings ({'; '.join(differences(config, saved))})"
            cure = "give the same settings"
        raise ConfigError(
            f"{output_dir} holds an unfinished run{said}; {cure} to continue it, "
            f"choose another output_dir, or delete {output_dir / STATE_FILE}"
        )
    return None


def refuse_to_lose(folder: Path, command: str, *, finished: bool = True) -> None:
    """Refuse a folder in which a command would overwrite what cannot be made again at once.

    That is what another command has made, and a finished stage. What judges or shows something may
    do so again in its own folder, and a stage that has been cut goes on there or begins anew.

    Args:
        folder: which the command is to write to.
        command: its name.
        finished: whether that stands for a finished run of the same stage, too.

    Raises:
        ConfigError: there is something to lose, or nobody knows what, because it is damaged.
    """
    if not folder.is_dir() or all(_is_record(path) for path in folder.iterdir()):
        return
    saved = saved_config(folder)
    if saved is None:
        return
    if saved["command"] != command:
        raise ConfigError(
            f"{folder} holds a run of {saved['command']}, whose {CONFIG_FILE} {command} would "
            "overwrite; choose another output_dir"
        )
    done = (folder / FINISHED_FILE).is_file() and not (folder / STATE_FILE).is_file()
    if finished and done and command in STAGES:
        raise ConfigError(
            f"{folder} holds a finished {command}; choose another output_dir, or delete the folder "
            "to make it again"
        )


def _is_record(path: Path) -> bool:
    """Whether it says what a run did, and is no result of it."""
    return path.name in _RECORDS or path.suffix == ".log"


def new_folder(root: Path) -> Path:
    """Make the default folder of a command that begins now, `ROOT/DATE/TIME`.

    Of commands that begin in the same second each has its own: the next are `TIME-2`, `TIME-3`, ...
    """
    stamp = root / time.strftime("%Y-%m-%d/%H-%M-%S")
    stamp.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = stamp if number == 1 else stamp.with_name(f"{stamp.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def shared_new_folder(root: Path) -> Path:
    """`new_folder`, the same in all processes of a `torchrun`.

    Raises:
        ConfigError: the processes cannot agree on one.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise ConfigError("give output_dir=FOLDER: these processes were not started by torchrun")
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=60))
    key = f"adafocus/folder/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if os.environ["RANK"] == "0":
        store.set(key, str(new_folder(root)))
    folder: bytes = store.get(key)
    return Path(folder.decode())


def _unfinished(root: Path) -> list[Path]:
    """Run folders below `root` with something to continue, the newest first."""
    states = root.glob(f"*/*/{STATE_FILE}")
    return [state.parent for state in sorted(states, key=lambda s: -s.stat().st_mtime)]


def _unfinished_config(folder: Path) -> dict[str, Any] | None:
    """The configuration of an unfinished run; None where there is no such run."""
    return saved_config(folder) if (folder / STATE_FILE).is_file() else None


def _continued(folder: Path, saved: dict[str, Any]) -> Continued:
    return Continued(folder, {name: saved.get(name) for name in ("resume", "recognizer")})


def differences(config: ResumeSection, saved: dict[str, Any]) -> list[str]:
    """What another run computes otherwise, as `key: there, here`.

    What `resume=` names is not compared: it may be the other run itself. Nor are keys that the
    command does not know, which other versions have saved; of keys that they had not, it is the
    default that counts. Lists and classes are compared where both have written down which they
    were.
    """
    keys, different = keys_of(type(config)), []
    there = {k: saved.get(k, v.plain_default) for k, v in keys.items() if v.is_of_run}
    there["command"] = saved.get("command")
    for name, here in sorted(config.plain().items()):
        if name in there and there[name] != here:
            different += files.differences({name: there[name]}, {name: here}) or [
                f"{name}: {there[name]} there, {here} here"  # one is empty, the other null
            ]
    source, saved_source = getattr(config, "recognizer", None), _source(saved)
    if source is not None and source != saved_source:
        different.append(f"recognizer: {saved_source} there, {source} here")
    if not different and DATA in saved:  # files are read for it
        different = files.differences({DATA: saved[DATA]}, {DATA: data_fingerprint(config)})
    return different


def all_differences(config: ResumeSection, saved: dict[str, Any]) -> list[str]:
    """`differences`, and whether both start from the same earlier stage."""
    different, here, there = differences(config, saved), config.source_run, _source(saved)
    if getattr(config, "recognizer", None) is None and here != there:
        different.append(f"resume: {there} there, {here} here")
    return different


def _source(saved: dict[str, Any]) -> str | None:
    source: str | None = saved.get("recognizer") or saved.get("resume")
    return None if source == "auto" else source
