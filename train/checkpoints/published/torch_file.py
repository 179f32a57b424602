"""Files of `torch.save` from elsewhere, read without running anything that is in them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adafocus_env.networks import CheckpointError
from adafocus_env.networks.weights import load_plain, read_weights


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read a file of `torch.save` or safetensors as a dict; nothing in it is executed.

    Tensors come to the CPU. Numbers that NumPy wrote become Python numbers.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is damaged, is none, or holds more than tensors and numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file {path}")
    if path.suffix == ".safetensors":
        return dict(read_weights(path))
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            entries = load_plain(path)
    except CheckpointError:
        raise
    except Exception as error:  # damaged files fail in any way
        raise CheckpointError(_why_unreadable(path, error)) from error
    if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
        raise CheckpointError(f"{path} holds no named entries but a {type(entries).__name__}")
    return entries


class _NumberType:
    """Stands in for `numpy.dtype` when a file is read: nothing of NumPy's unpickling runs.

    Args:
        code: kind and size, as `"f8"`.
    """

    def __init__(self, code: str, *_: object):
        if not re.fullmatch(r"[fiu][1248]|b1", code):
            raise ValueError(f"NumPy type {code!r} is no plain number")
        self.code = code
        self.byte_order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Byte order is the second entry: `"<"`, `">"`, or `"|"` for single bytes."""
        if state[1] not in ("<", ">", "|"):
            raise ValueError(f"unknown byte order {state[1]!r}")
        self.byte_order = state[1]

    def number(self, content: bytes) -> Any:
        """The Python number in the bytes."""
        return np.frombuffer(content, np.dtype(self.byte_order + self.code), count=1)[0].item()


def _read_number(kind: _NumberType, content: bytes) -> Any:
    return kind.number(content)


# The metric of older files is a NumPy scalar. Its three names, and no others, may occur.
_NUMBERS: list[Any] = [
    (_read_number, "numpy.core.multiarray.scalar"),
    (_read_number, "numpy._core.multiarray.scalar"),
    (_NumberType, "numpy.dtype"),
]


def _why_unreadable(path: Path, error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found is not None:
        return (
            f"{path} holds {found[1]}, which is code and no weights; nothing of it was run, "
            "and such a file is not read"
        )
    # What torch says on the other occasions invites the user to switch its safety off.
    unsafe = isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error)
    says = "" if unsafe else str(error).split("\n", 1)[0][:120]
    return (
        f"{path} cannot be read as a checkpoint: damaged, incomplete or another kind of file "
        f"({type(error).__name__}{': ' if says else ''}{says})"
    )
