"""A configuration key: its type, default, range and meaning, said once, where it is declared."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from adafocus_env import limits

# What a key is part of: another value makes another experiment; another run of the experiment, as
# a seed does; or neither: where a run is, how fast it goes and what it shows.
Identity = Literal["experiment", "run", "nothing"]

_NONE = type(None)
_TYPES = {
    int: ("a whole number", "N"),
    float: ("a number", "X"),
    bool: ("true or false", "true|false"),
    str: ("text", "TEXT"),
    Path: ("text", "FOLDER"),
    _NONE: ("null", ""),
    tuple[str, ...]: ("a list of names such as [random,center]", "[NAME,...]"),
    tuple[int, ...]: ("a list of whole numbers such as [50,100]", "[N,...]"),
}
_MAPPING = ("a name: value mapping", "{NAME: VALUE}")


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key and the cure."""


@dataclass(frozen=True)
class Key:
    """What a section declares of a key, and of its field by `keys_of`.

    Attributes:
        default: of the command; `MISSING` where a file gives it.
        help: one or two lines for the user.
        written: how its value is, where the type does not say it: `FOLDER`, `live|bank:PATH`.
        at_least: smallest number.
        at_most: largest number; None: of whole numbers `limits.COUNT`.
        above: numbers are greater than this.
        below: numbers are less than this.
        why: the largest number is what it is, for the message about a larger one.
        identity: what the key is part of.
        from_recipe: the experiment has a value for each command.
        is_path: any text is a path, whatever characters it has.
        name: of the field.
        types: of which its value is one; a `Literal` is what it may be.
    """

    default: Any
    help: str
    written: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    why: str | None = None
    identity: Identity = "experiment"
    from_recipe: bool = False
    is_path: bool = False
    name: str = ""
    types: tuple[Any, ...] = ()

    @property
    def range(self) -> str:
        """The numbers that are allowed, as a message says it; empty for any."""
        if self.above is not None:
            high = "" if self.at_most is None else f", at most {self.at_most:g}"
            return f"above {self.above:g}{high}"
        if self.at_least is None:
            return ""
        if self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:.10g}"
        low = "0 or more" if self.at_least == 0 else f"at least {self.at_least:g}"
        return low if self.below is None else f"{low} and below {self.below:g}"

    @property
    def is_of_run(self) -> bool:
        """Whether runs with other values compute something else."""
        return self.identity != "nothing"

    @property
    def plain_default(self) -> Any:
        """Its default as YAML writes it, None where it has none."""
        if self.default is MISSING:
            return None
        return list(self.default) if isinstance(self.default, tuple) else self.default

    @property
    def form(self) -> str:
        """How its value is written."""
        if self.written is not None:
            return self.written
        forms = ["|".join(_words(kind)) or _TYPES.get(kind, _MAPPING)[1] for kind in self.types]
        return "|".join(form for form in forms if form)

    @property
    def wanted(self) -> str:
        """What to give where there is no value, as a message says it."""
        return f"{self.name}={self.form}: {self.help}"

    def check(self, value: Any) -> None:
        """Hydra reads any text as any value, so types and ranges are checked here.

        Raises:
            ConfigError: the message says what is expected.
        """
        if not any(_is_a(value, kind) for kind in self.types):
            if isinstance(value, str) and all(_words(kind) or kind is _NONE for kind in self.types):
                known = ", ".join(word for kind in self.types for word in _words(kind))
                raise ConfigError(f"{self.name}={value} is unknown; known are {known}")
            raise ConfigError(f"{self.name}={value!r} must be {self._expected()}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                self._check_number(value, number)

    def _check_number(self, value: Any, number: float) -> None:
        if isinstance(number, int) and self.at_most is None and number > limits.COUNT:
            raise ConfigError(f"{self.name}={value} must be at most {limits.COUNT}")
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        above = self.above is None or number > self.above
        below = self.below is None or number < self.below
        if not (low <= number <= high and above and below):
            expected = self._expected() if any(map(_words, self.types)) else self.range
            why = f": {self.why}" if self.why is not None and number > high else ""
            raise ConfigError(f"{self.name}={value} must be {expected}{why}")

    def _expected(self) -> str:
        names = [" or ".join(_words(kind)) or _TYPES.get(kind, _MAPPING)[0] for kind in self.types]
        if not self.range:
            return " or ".join(names)
        return ", or ".join([f"{names[0]}, {self.range}", *names[1:]])


def key(default: Any = MISSING, help: str = "", **more: Any) -> Any:  # noqa: A002
    """Declare a key of a section. A command changes its default by naming the field again.

    Args:
        default: see `Key`, as all others.
        help: likewise.
        **more: likewise.
    """
    return field(default=default, metadata={"key": Key(default, help, **more)})


def path(written: str, help: str, **more: Any) -> Any:  # noqa: A002
    """Declare a key that names a file or a folder, by default none."""
    return key(None, help, written=written, is_path=True, **more)


def recipe(help: str, **more: Any) -> Any:  # noqa: A002
    """Declare a key whose value comes from the experiment's recipe for the command."""
    return key(None, help, from_recipe=True, **more)


_KEYS: dict[type, dict[str, Key]] = {}


def keys_of(section: type) -> Mapping[str, Key]:
    """The keys of a section or a command by name."""
    if section not in _KEYS:
        _KEYS[section] = _keys_of(section)
    return _KEYS[section]


def _keys_of(section: type) -> dict[str, Key]:
    declared: dict[str, Key] = {}
    for base in reversed(section.__mro__[:-1]):
        declared |= {f.name: f.metadata["key"] for f in fields(base) if "key" in f.metadata}
    hints, of_fields = (
        get_type_hints(section),
        {item.name: item.default for item in fields(section)},
    )
    return {
        name: replace(one, name=name, default=of_fields[name], types=_options(hints[name]))
        for name, one in declared.items()
    }


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _words(kind: Any) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _is_a(value: Any, expected: Any) -> bool:
    if expected is float:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if _words(expected):
        return isinstance(value, str) and value in _words(expected)
    if get_origin(expected) is tuple:
        item_type = get_args(expected)[0]
        return isinstance(value, tuple) and all(_is_a(item, item_type) for item in value)
    if expected == Mapping[str, str]:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if expected == Mapping[str, Any]:
        return isinstance(value, dict)
    return isinstance(value, expected)
