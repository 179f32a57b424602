"""Errors that a user can do something about, as one line: the file, what is wrong, the cure."""

from __future__ import annotations

import errno
import os

from adafocus_env.folders import FolderRemovedError
from train.cli.ending import how_to_go_on

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_A_FILE = {errno.ENOTDIR, errno.EEXIST}


def is_users_mistake(error: Exception) -> bool:
    """Errors that explain themselves: ours, bad arguments, files that cannot be read or written."""
    known = (OSError, FloatingPointError)  # the latter is a loss; its message says what to lower
    ours = type(error).__module__.split(".")[0] in ("adafocus_env", "agents", "train")
    return ours or isinstance(error, known) or type(error) is ValueError


def one_line(error: Exception) -> str:
    """What to say of an error of which `is_users_mistake`."""
    says = _of_system(error) if isinstance(error, OSError) and error.errno else str(error)
    return " ".join(says.split("\n"))


def _of_system(error: OSError) -> str:
    is_named = isinstance(error.filename, (str, bytes))  # TensorBoard's are bytes
    named = os.fsdecode(error.filename) if is_named else None
    place, reason = named or "a file", error.strerror
    if isinstance(error, FolderRemovedError):
        return f"{place} was {reason}; {how_to_go_on()}"
    if error.errno in _FULL:
        return f"{place} cannot be written: {reason}; free some space, then {how_to_go_on()}"
    if error.errno in _FORBIDDEN:
        return f"{place}: {reason}; choose a place where this user may read and write"
    if error.errno in _A_FILE:
        return f"{place}: a file is where a folder should be; choose another folder"
    return f"{place}: {reason}"
