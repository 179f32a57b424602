"""A configuration key: its type, default, range and meaning, said once, where it is declared."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

# What a key is part of: another value makes another experiment; another run of the experiment, as
# a seed does; or neither: where a run is, how fast it goes and what it shows.
Identity = Literal["experiment", "run", "nothing"]

_TYPES = {
    int: ("a whole number", "N"),
    float: ("a number", "X"),
    bool: ("true or false", "true|false"),
    str: ("text", "TEXT"),
    Path: ("text", "FOLDER"),
    type(None): ("null", ""),
    tuple[str, ...]: ("a list of names such as [random,center]", "[NAME,...]"),
    tuple[int, ...]: ("a list of whole numbers such as [50,100]", "[N,...]"),
}
_MAPPING = ("a name: value mapping", "{NAME: VALUE}")


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key and the cure."""


@dataclass(frozen=True)
class About:
    """What a declaration says of its key beside its type and default.

    Attributes:
        help: one or two lines for the user.
        form: how its value is written, where the type does not say it: `FOLDER`, `live|bank:PATH`.
        at_least: smallest number.
        at_most: largest number.
        above: numbers are greater than this.
        identity: what the key is part of.
        from_recipe: the experiment has a value for each command.
        is_path: any text is a path, whatever characters it has.
    """

    help: str
    form: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    identity: Identity = "experiment"
    from_recipe: bool = False
    is_path: bool = False

    @property
    def range(self) -> str:
        """The numbers that are allowed, as a message says it; empty for any."""
        if self.above is not None:
            return f"above {self.above:g}"
        if self.at_least is None:
            return ""
        if self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        return "0 or more" if self.at_least == 0 else f"at least {self.at_least:g}"


def key(default: Any = MISSING, help: str = "", **about: Any) -> Any:  # noqa: A002
    """Declare a key of a section.

    Args:
        default: its value; without one a file of the configuration gives it.
        help: see `About`, as all others.
        **about: likewise.
    """
    return field(default=default, metadata={"about": About(help, **about)})


def recipe(help: str, **about: Any) -> Any:  # noqa: A002
    """Declare a key whose value comes from the experiment's recipe for the command."""
    return key(None, help, from_recipe=True, **about)


@dataclass(frozen=True)
class Key:
    """A key as a command's configuration declares it.

    Attributes:
        name: of the field.
        default: of the command; `MISSING` where a file gives it.
        about: the rest.
        types: of which its value is one; a `Literal` is what it may be.
    """

    name: str
    default: Any
    about: About
    types: tuple[Any, ...]

    @property
    def is_of_run(self) -> bool:
        """Whether runs with other values compute something else."""
        return self.about.identity != "nothing"

    @property
    def plain_default(self) -> Any:
        """Its default as YAML writes it, None where it has none."""
        if self.default is MISSING:
            return None
        return list(self.default) if isinstance(self.default, tuple) else self.default

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be."""
        return tuple(word for kind in self.types for word in _words(kind))

    @property
    def form(self) -> str:
        """How its value is written."""
        if self.about.form is not None:
            return self.about.form
        forms = ["|".join(_words(kind)) or _TYPES.get(kind, _MAPPING)[1] for kind in self.types]
        return "|".join(form for form in forms if form)

    def check(self, value: Any) -> None:
        """Hydra reads any text as any value, so types and ranges are checked here.

        Raises:
            ConfigError: the message says what is expected.
        """
        if not any(_is_a(value, kind) for kind in self.types):
            if isinstance(value, str) and set(self.types) <= {*self._literals, type(None)}:
                known = ", ".join(self.choices)
                raise ConfigError(f"{self.name}={value} is unknown; known are {known}")
            raise ConfigError(f"{self.name}={value!r} must be {self._expected()}")
        about = self.about
        if not about.range or isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        low = value > about.above if about.above is not None else value >= (about.at_least or 0)
        if not low or not (value <= (math.inf if about.at_most is None else about.at_most)):
            expected = self._expected() if self.choices else about.range
            raise ConfigError(f"{self.name}={value} must be {expected}")

    @property
    def _literals(self) -> set[Any]:
        return {kind for kind in self.types if _words(kind)}

    def _expected(self) -> str:
        names = [" or ".join(_words(kind)) or _TYPES.get(kind, _MAPPING)[0] for kind in self.types]
        if not self.about.range:
            return " or ".join(names)
        return ", or ".join([f"{names[0]}, {self.about.range}", *names[1:]])


_KEYS: dict[type, dict[str, Key]] = {}


def keys_of(section: type) -> Mapping[str, Key]:
    """The keys of a section or a command by name."""
    if section not in _KEYS:
        hints = get_type_hints(section)
        _KEYS[section] = {
            item.name: Key(
                item.name, item.default, item.metadata["about"], _options(hints[item.name])
            )
            for item in fields(section)
            if "about" in item.metadata
        }
    return _KEYS[section]


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
