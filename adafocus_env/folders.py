"""Folders that a command holds while it writes: who removes one wants it gone, and it stays gone.

All folders are made, and all files written as a whole, through here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Absolute path -> device and number of the folder that is held there.
_held: dict[Path, tuple[int, int]] = {}


class FolderRemovedError(FileNotFoundError):
    """A folder that is held was removed or renamed; `filename` is its path."""

    def __init__(self, folder: str | Path):
        super().__init__(errno.ENOENT, "removed while the command ran", str(folder))

    def __reduce__(self) -> tuple[type[FolderRemovedError], tuple[str]]:
        """As a worker process sends it."""
        return type(self), (str(self.filename),)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within it this folder is not made again, nor is another that is put there written to.

    Args:
        folder: that exists.

    Raises:
        FolderRemovedError: it was removed within the block, whatever else was raised then.
    """
    path = folder.absolute()
    before = _held.get(path)
    open_folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)  # so that no other gets its number
    try:
        _held[path] = _number(os.fstat(open_folder))
        try:
            yield
        except FolderRemovedError:
            raise
        except Exception as error:
            if _is_removed(path):
                raise FolderRemovedError(folder) from error
            raise
        if _is_removed(path):
            raise FolderRemovedError(folder)
    finally:
        _held.pop(path)
        if before is not None:
            _held[path] = before
        os.close(open_folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        OSError: it cannot be made; `FolderRemovedError` where it lies in a folder that is held.
    """
    refuse_removed(folder)
    folder.mkdir(parents=True, exist_ok=True)


def refuse_removed(path: Path) -> None:
    """Refuse to write where a folder that is held has been removed.

    Raises:
        FolderRemovedError: the path is that folder, or lies in it.
    """
    absolute = path.absolute()
    for folder in _held:
        if (folder == absolute or folder in absolute.parents) and _is_removed(folder):
            raise FolderRemovedError(folder)


def held_folders() -> Mapping[Path, tuple[int, int]]:
    """What a worker process must know, for `hold_as_parent`."""
    return dict(_held)


def hold_as_parent(folders: Mapping[Path, tuple[int, int]]) -> None:
    """In a worker: hold what its parent holds."""
    _held.update(folders)


def _is_removed(folder: Path) -> bool:
    try:
        return _number(folder.stat()) != _held[folder]
    except OSError:
        return True


def _number(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
