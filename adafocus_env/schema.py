"""What files must hold: types and ranges, checked where a file is read, by pydantic."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, FailFast, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, to_json

from adafocus_env.files import CheckpointError, read_json

T = TypeVar("T")

# Entries that no schema names are refused; or left out, where other files have more.
closed = with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
partial = with_config(ConfigDict(extra="ignore", allow_inf_nan=False))

Natural = Annotated[int, Field(ge=1, le=2**31)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Names = Annotated[tuple[str, ...], Field(min_length=1, max_length=2**16), FailFast()]
Mean = Annotated[float, Field(ge=-10, le=10)]  # of a colour in [0, 1], if shifted at all
Spread = Annotated[float, Field(ge=1e-4, le=1e4)]


_adapters: dict[Any, TypeAdapter[Any]] = {}  # making one takes longer than using it


def read_checked(path: Path, schema: type[T], cure: str) -> T:
    """A JSON file as a value of its schema.

    Args:
        path: of the file.
        schema: a dataclass, or a `TypedDict`.
        cure: what to do about a damaged file.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it holds something else; the message names file, entry and cure.
    """
    return checked(read_json(path, cure), schema, path, cure)


def checked(values: Any, schema: type[T], path: Path, cure: str) -> T:
    """Values that were read from a file as a value of the file's schema.

    Nothing is converted, except that a dataclass is made of a mapping of JSON types, with tuples of
    lists.

    Args:
        values: as they were read.
        schema: a dataclass, or a `TypedDict`.
        path: of the file.
        cure: what to do about a damaged file.

    Raises:
        CheckpointError: see `read_checked`.
    """
    adapter = _adapter(schema)
    try:
        if is_dataclass(schema):
            return adapter.validate_json(to_json(values), strict=True)
        return adapter.validate_python(values, strict=True)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {_says(error)}; {cure}") from None


@partial
@dataclass(frozen=True)
class _Versioned:
    format_version: int


def check_version(values: Mapping[str, Any], known: Sequence[int], path: Path, cure: str) -> None:
    """Refuse a file of another version, whose other entries have another schema.

    Args:
        values: of the file.
        known: numbers that `format_version` may be.
        path: of the file.
        cure: what to do about another version.

    Raises:
        CheckpointError: it has another one, or none.
    """
    version = checked(values, _Versioned, path, cure).format_version
    if version not in known:
        reads = " and ".join(map(str, known))
        raise CheckpointError(
            f"{path}: format_version is {version}, this package reads {reads}; {cure}"
        )


def _adapter(schema: type[T]) -> TypeAdapter[T]:
    if schema not in _adapters:
        _adapters[schema] = TypeAdapter(schema)
    return _adapters[schema]


def _says(error: ValidationError) -> str:
    """The first of the errors, in one line."""
    details = error.errors(include_url=False)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{_what_is_wrong(details[0])}{more}"


def _what_is_wrong(details: ErrorDetails) -> str:
    place = ".".join(map(str, details["loc"]))
    kind = details["type"]
    if kind == "missing":
        return f"{place} is missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{place} is unknown"
    says = details["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{place}: {says}" if place else says
    return f"{place or 'it'} {says.removeprefix('Input ')}, not {reprlib.repr(details['input'])}"
