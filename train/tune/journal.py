"""The journal of a search: Optuna's file of everything that has happened, one line an event."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from adafocus_env.files import regular
from train.config.keys import ConfigError

if TYPE_CHECKING:
    from optuna import Study

log = logging.getLogger(__name__)

JOURNAL = "tune.journal"


def open_study(optuna: Any, folder: Path, pruner: Any) -> Study:
    """The search in a folder, which no other process uses; a new one where there is none.

    Raises:
        ConfigError: the journal is damaged otherwise than at its end.
    """
    path = folder / JOURNAL
    if regular(path).is_file():
        _mend(path)
    # Of a killed process: Optuna would wait for it for half a minute.
    path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        study: Study = optuna.create_study(
            study_name="tune",
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        for trial in study.get_trials(False, ended):
            if not {"folder", "parameters"} <= trial.user_attrs.keys():
                raise ValueError(f"trial {trial.number} has ended and does not say what it was")
    except OSError:
        raise
    except Exception as error:  # Optuna replays the events unchecked
        says = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _damaged(path, says) from error
    return study


def _mend(path: Path) -> None:
    """Leave out a last line that was cut, and with it what happened last.

    Raises:
        ConfigError: another line is damaged.
    """
    whole = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            if not _is_event(line):
                raise _damaged(path, f"line {number} is no event")
            whole += len(line)
    if whole < path.stat().st_size:
        log.warning("%s: the last line was cut and is left out", path)
        os.truncate(path, whole)


def _is_event(line: bytes) -> bool:
    try:
        return isinstance(from_json(line), dict)
    except ValueError:
        return False


def _damaged(path: Path, says: str) -> ConfigError:
    return ConfigError(
        f"{path} is damaged ({says}); restore it, or begin another search in another output_dir"
    )
