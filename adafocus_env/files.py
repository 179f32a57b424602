"""Files that are either the old ones or the new ones, never half of one; JSON in such files."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from adafocus_env.folders import make_folder, refuse_removed

_LARGEST_JSON = 64 * 2**20  # bytes; a bank of a million videos describes itself in a tenth
_READ_TWICE = 2**22  # bytes; for two entries of one name
_PROBE = 2**20  # bytes; a full disk may have room for a few
_LONGEST_LINE = 200  # letters
_HASH_BLOCK = 2**24
_SEAL = b"\nsha256 "


class CheckpointError(ValueError):
    """A saved file cannot be used; the message names the file, the reason and the cure."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; written to disk and renamed to `path` on success.

    On an error the temporary file is removed and `path` is left as it was. In a folder that others
    write to, too, nobody can put a link under the name beforehand: it cannot be guessed.

    Raises:
        OSError: the disk is full, or the file cannot be written for another reason; it names
            `path`, whatever a library that wrote the file said of that.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    refuse_removed(path)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno and (error.filename or str(part)).startswith(str(part)):
            error.filename = str(path)
        raise
    except Exception as error:  # of torch, OpenCV, safetensors: what they say is not why
        refusal = refusal_to_write(part)
        if refusal is None:
            raise
        refusal.filename = str(path)
        raise refusal from error
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system say which file it is about, which those of writing do not."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


def refusal_to_write(path: Path) -> OSError | None:
    """Why the system takes no more at the end of an unfinished file; None where it does."""
    try:
        with path.open("ab") as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def remove_parts(path: Path) -> None:
    """Remove what killed processes left beside `path`. No other process may be writing it."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


def remove_parts_below(folder: Path) -> None:
    """Remove what killed processes left in a folder that no other process writes into."""
    for part in folder.rglob(".*.part*"):
        if part.is_file():
            part.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file to read by people too, as a whole or not at all; its folder is made if missing.

    Entries keep their order.
    """
    make_folder(path.parent)
    with atomic_path(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of these lines, as a whole or not at all."""
    with atomic_path(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def check_part(folder: Path, part: str, names: Sequence[str], command: str) -> None:
    """Refuse a folder of a checkpoint's part without its files.

    Args:
        folder: that should hold them; where a run folder was named instead, the message says so.
        part: `"recognizer"` or `"policy"`, also the folder's name in a run folder.
        names: of the files.
        command: which makes one.

    Raises:
        FileNotFoundError: a file is missing.
    """
    for name in names:
        if not (folder / name).is_file():
            below = folder / part
            cure = f"did you mean {below}?" if below.is_dir() else f"'{command}' makes one"
            raise FileNotFoundError(f"no {part} in {folder}: {name} is missing; {cure}")


def read_json(path: Path, cure: str = "use an undamaged copy") -> dict[str, Any]:
    """Read what `write_json` wrote.

    Args:
        path: of the file.
        cure: what to do about a damaged one.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it holds something else, is too large or too deep; the message names it.
    """
    content = read_limited(path, _LARGEST_JSON, cure)
    try:
        value = from_json(content)
        if len(content) <= _READ_TWICE:
            json.loads(content, object_pairs_hook=_once)
    except ValueError as error:
        says = "it is empty" if not content.strip() else error
        raise CheckpointError(f"{path} cannot be read as JSON ({says}); {cure}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object; {cure}")
    return value


def _once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose entries other readers would take the last of.

    Raises:
        ValueError: two have the same name.
    """
    value = dict(entries)
    if len(value) < len(entries):
        names = [name for name, _ in entries]
        twice = next(name for name in value if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands in it twice")
    return value


def regular(path: Path) -> Path:
    """The path, unless there is a pipe or a device: reading it would wait, or never end.

    Raises:
        OSError: there is.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "a pipe or device, where a file should be", str(path))
    return path


def read_limited(path: Path, limit: int, cure: str) -> bytes:
    """The content of a file that has a reason to be small.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it is larger than `limit` bytes.
    """
    size = regular(path).stat().st_size
    if size > limit:
        raise CheckpointError(
            f"{path} has {size} bytes, and no such file has more than {limit}; {cure}"
        )
    return path.read_bytes()


def sha256_of(path: Path, length: int | None = None) -> str:
    """SHA-256 of a file, or of its first bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, _HASH_BLOCK))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def seal(path: Path) -> None:
    """Append a checksum, which `is_sealed` compares. Files of `torch.save` are read with it."""
    checksum = sha256_of(path)
    with path.open("ab") as file:
        file.write(_SEAL + checksum.encode())


def is_sealed(path: Path) -> bool | None:
    """Whether a file is as `seal` left it; None where it has no checksum, or has lost it."""
    length = path.stat().st_size - len(_SEAL) - 64
    if length < 0:
        return None
    with path.open("rb") as file:
        file.seek(length)
        end = file.read()
    if not end.startswith(_SEAL):
        return None
    return end == _SEAL + sha256_of(path, length).encode()


def first_line(error: Exception) -> str:
    """What another library says, without the tables and hints that follow it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "Weights only load failed" in lines[0]:  # torch goes on with how to run what is in the file
        return "it is damaged, or holds more than weights"
    return lines[0][:_LONGEST_LINE].rstrip(" :")


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Where two nested settings differ, as `name: 1 there, 2 here`, sorted by name."""
    one, other = flat(there), flat(here)
    return [
        f"{name}: {_short(one.get(name))} there, {_short(other.get(name))} here"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; tuples become lists, as in JSON."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return found


def _short(value: object) -> str:
    """A checksum's beginning tells it from others; a list's length and ends tell enough."""
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 4:
        return f"{len(value)} from {value[0]} to {value[-1]}"
    return str(value)


def _sync_folder(folder: Path) -> None:
    """Write the new name to disk, so that it survives a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
