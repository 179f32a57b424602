"""Values that users give in code and on command lines, checked against types with ranges."""

from __future__ import annotations

import reprlib
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from adafocus_env import limits


def _refuse_more_processes(count: int) -> int:
    if count > limits.PROCESSES:
        raise ValueError(f"must be at most {limits.PROCESSES}: {limits.WHY_PROCESSES}")
    return count


Count = Annotated[int, Field(ge=1, le=limits.COUNT)]
Side = Annotated[int, Field(ge=1, le=limits.SIDE)]  # pixels
Frames = Annotated[int, Field(ge=1, le=limits.FRAMES)]
Units = Annotated[int, Field(ge=1, le=limits.UNITS)]
Processes = Annotated[int, Field(ge=0), AfterValidator(_refuse_more_processes)]
FrameRate = Annotated[float, Field(ge=limits.LOWEST_FRAME_RATE, le=limits.FRAME_RATE)]

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_adapters: dict[Any, TypeAdapter[Any]] = {}  # making one takes longer than using it


def check_value(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of a type. Nothing is converted but whole numbers to floats.

    Args:
        name: of the value, for the message.
        value: any.
        hint: a type as annotations say it, perhaps with ranges.

    Raises:
        TypeError: the value is of another type.
        ValueError: it is of the type, but out of range; or none of the words that it may be.
    """
    if hint not in _adapters:
        _adapters[hint] = TypeAdapter(hint, config=_STRICT)
    try:
        _adapters[hint].validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        wrong = [item for item in found if item["type"] != "none_required"]
        said = (item["msg"].removeprefix("Value error, ") for item in wrong)
        says = dict.fromkeys(item.removeprefix("Input ") for item in said)
        of_type = all(item["type"].endswith("_type") for item in wrong)
        kind = TypeError if of_type else ValueError
        raise kind(f"{name}={reprlib.repr(value)} {' or '.join(says)}") from None
