"""Types of configured values, which Hydra does not check, and the error of a bad one."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key and the cure."""


def check_type(name: str, value: Any, hint: Any) -> None:
    """Hydra reads any text as any value, so types are checked here.

    Raises:
        ConfigError: the value is of another type; the message says which is expected.
    """
    expected = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not any(_is_a(value, one) for one in expected):
        names = [_TYPE_NAMES.get(one, "a name: value mapping") for one in expected]
        raise ConfigError(f"{name}={value!r} must be {' or '.join(names)}")


_TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    tuple[str, ...]: "a list of names such as [random,center]",
    tuple[int, ...]: "a list of whole numbers such as [50,100]",
}


def _is_a(value: Any, expected: Any) -> bool:
    if expected is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(expected) is tuple:
        item_type = get_args(expected)[0]
        return isinstance(value, tuple) and all(_is_a(item, item_type) for item in value)
    if expected == Mapping[str, str]:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if expected == Mapping[str, Any]:
        return isinstance(value, dict)
    return isinstance(value, expected)
