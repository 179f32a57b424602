"""A folder that one process at a time writes into."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from adafocus_env.files import naming
from adafocus_env.folders import held, make_folder
from train.config.keys import ConfigError

LOCK_FILE = ".in-use"
_LONGEST = 300  # letters of what a lock says


@contextmanager
def in_use(folder: Path, command: str, key: str) -> Iterator[None]:
    """Keep other processes from writing into a folder, until the block or this process ends.

    The system gives the lock of a dead process free. Workers do not inherit it: one that outlives
    its parent keeps nobody out. It keeps out other processes alone, so that within one the parts of
    a larger run may hold what that run holds.

    Args:
        folder: made if missing, and removed if nothing was written into it then.
        command: that writes, for the message to others.
        key: of the command line that names the folder, for the message.

    Raises:
        ConfigError: another process writes there; the message says which.
        FolderRemovedError: the folder was removed while the block ran.
    """
    is_new = not folder.exists()
    make_folder(folder)
    path = folder / LOCK_FILE
    with _locked(path, key) as file:
        file.truncate(0)
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        with naming(path):
            file.write(f"process {os.getpid()} of {socket.gethostname()}, {command}, since {now}\n")
            file.flush()
        try:
            with held(folder):
                yield
        finally:
            if _is_at(path, file):  # not another's, where the folder was removed
                path.unlink(missing_ok=True)
            if is_new and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _locked(path: Path, key: str) -> TextIO:
    """The file at the path, open and locked."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            with file:
                file.seek(0)
                holder = file.read(_LONGEST).strip() or "another process"
            raise ConfigError(
                f"{path.parent} is written by {holder}; wait for it to end, or choose another "
                f"{key}="
            ) from None
        if _is_at(path, file):
            return file
        file.close()  # who had it has removed it just now


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
