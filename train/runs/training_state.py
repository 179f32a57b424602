"""Interrupted training: everything that a stage needs to go on as if nothing had happened."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typing_extensions import TypedDict

from adafocus_env.files import (
    CheckpointError,
    atomic_path,
    first_line,
    is_sealed,
    remove_parts,
    seal,
    write_json,
)
from adafocus_env.networks.weights import load_plain, refuse_not_finite
from adafocus_env.schema import Natural, checked
from train.runs.folder import FINISHED_FILE, STATE_FILE
from train.runs.processes import Processes

log = logging.getLogger(__name__)

_CURE = "delete it to begin the stage anew, or restore it"


class _State(TypedDict):
    """What the states of all stages hold."""

    command: str
    processes: Natural
    random: list[dict[str, Any]]


def save_state(folder: Path, command: str, processes: Processes, state: dict[str, Any]) -> None:
    """Write a stage's state, with the random states of all processes; rank 0 writes.

    The file is written under another name, synced and renamed: a kill leaves the one before. It
    ends with a checksum.

    Args:
        folder: of the run.
        command: the stage.
        processes: every one of them must call this.
        state: tensors, numbers, text, and lists and dicts of them: it is read without pickle's
            code execution.
    """
    random_states = processes.gather([_random_state(processes.device)])
    if processes.is_main:
        values = {
            "command": command,
            "processes": processes.count,
            "random": random_states,
            **state,
        }
        with atomic_path(folder / STATE_FILE) as part:
            torch.save(values, part)
            seal(part)
    processes.wait()


def load_state(
    folder: Path, command: str, processes: Processes, schema: type[Any]
) -> dict[str, Any] | None:
    """What `save_state` wrote, or None where there is nothing to continue.

    Args:
        folder: of the run.
        command: the stage.
        processes: that are to go on.
        schema: a `TypedDict` of what the stage has saved.

    Raises:
        CheckpointError: the file is of another stage, or damaged, or a number in it is not finite.
    """
    path = folder / STATE_FILE
    if processes.is_main:
        remove_parts(path)
    if not path.is_file():
        return None
    if is_sealed(path) is False:
        raise CheckpointError(f"{path} is damaged: its checksum is that of another file; {_CURE}")
    try:
        state: dict[str, Any] = load_plain(path)
    except CheckpointError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file, with dangerous advice
        raise CheckpointError(
            f"{path} is no training state, damaged or incomplete ({type(error).__name__}); {_CURE}"
        ) from error
    for form in (_State, schema):
        checked(state, form, path, _CURE)
    refuse_not_finite(dict(_tensors(state)), path, cure=_CURE)
    saved_command, count = state["command"], state["processes"]
    if saved_command != command:
        raise CheckpointError(f"{path} belongs to {saved_command}, not to {command}")
    if count != processes.count:
        log.info("begun with %d processes, going on with %d", count, processes.count)
    return state


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All that are in a nested state, each with the way to it."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _tensors(item, f"{name}.{number}")


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Within it a state that does not fit its run is refused as what it is.

    Raises:
        CheckpointError: the message names the file.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (
        *(ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError),
        *(RuntimeError, ArithmeticError),
    ) as error:
        raise CheckpointError(
            f"{folder / STATE_FILE} does not fit this run ({type(error).__name__}: "
            f"{first_line(error)}); {_CURE}"
        ) from error


def restore_random_state(state: dict[str, Any], processes: Processes) -> None:
    """Set this process's generators (Python, NumPy, torch) as they were when saved.

    A process more than there were then has begun streams of its own.

    Raises:
        IndexError: the state holds the generators of more or fewer processes than it says.
    """
    if len(state["random"]) != state["processes"]:
        raise IndexError(f"random of {len(state['random'])} processes")
    if processes.rank >= len(state["random"]):
        return
    own = state["random"][processes.rank]
    version, words, gauss = own["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = own["numpy"]
    np.random.set_state(  # noqa: NPY002
        (name, np.array(keys, dtype=np.uint32), position, has_gauss, cached)
    )
    torch.set_rng_state(own["torch"])
    if processes.device.type == "cuda" and own["cuda"] is not None:
        torch.cuda.set_rng_state(own["cuda"], processes.device)


def finish(folder: Path, processes: Processes) -> None:
    """The run is complete: nothing is left to continue, and a sweep need not make it again."""
    if processes.is_main:
        ended = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(folder / FINISHED_FILE, {"ended": ended})
        (folder / STATE_FILE).unlink(missing_ok=True)
    processes.wait()


def _random_state(device: torch.device) -> dict[str, Any]:
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": (version, list(words), gauss),
        "numpy": (
            str(name),
            np.asarray(keys).tolist(),
            int(position),
            int(has_gauss),
            float(cached),
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
