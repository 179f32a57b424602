"""Errors that a user can do something about, as one line: the file, what is wrong, the cure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from train.cli.ending import how_to_go_on

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_A_FILE = {errno.ENOTDIR, errno.EEXIST}


def is_users_mistake(error: Exception) -> bool:
    """Errors that explain themselves: ours, bad arguments, files that cannot be read or written."""
    known = (OSError, FloatingPointError)  # the latter is a loss; its message says what to lower
    ours = type(error).__module__.split(".")[0] in ("adafocus_env", "agents", "train")
    return ours or isinstance(error, known) or type(error) is ValueError


def one_line(error: Exception, folder: Path | None = None) -> str:
    """What to say of an error.

    Args:
        error: of which `is_users_mistake`.
        folder: that the command writes into, where that is known.
    """
    says = _of_system(error, folder) if isinstance(error, OSError) and error.errno else str(error)
    return " ".join(says.split("\n"))


def _of_system(error: OSError, folder: Path | None) -> str:
    is_named = isinstance(error.filename, (str, bytes))  # TensorBoard's are bytes
    named = os.fsdecode(error.filename) if is_named else None
    place, reason = named or "a file", error.strerror
    if error.errno == errno.ENOENT and folder is not None:
        # Files are written into folders that are made with them, so that it may be there again.
        inside = named is not None and folder.absolute() in Path(named).absolute().parents
        if not folder.exists() or (inside and not Path(place).parent.exists()):
            return f"{folder} was removed while the command ran; {how_to_go_on()}"
    if error.errno in _FULL:
        return f"{place} cannot be written: {reason}; free some space, then {how_to_go_on()}"
    if error.errno in _FORBIDDEN:
        return f"{place}: {reason}; choose a place where this user may read and write"
    if error.errno in _A_FILE:
        return f"{place}: a file is where a folder should be; choose another folder"
    return f"{place}: {reason}"
