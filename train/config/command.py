"""A command: what it is called, calls and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from train.config.keys import Key, keys_of
from train.config.sections import Section

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        function: `module:function`, imported when the command runs.
        summary: one line for the overview.
        kind: what the function is called with: a `run` with the configuration, a context, which
            is its folder and data, and a progress display; a `tool` without the context; and what
            consists of `parts`, runs of other commands, with all that was composed, and a display.
        processes: whether `torchrun` may start several.
        parts: the commands of a `parts` command whose keys it takes, too.
        sets: those of their keys that it sets itself.
        config: its own keys.
    """

    function: str
    summary: str
    kind: Literal["run", "tool", "parts"] = "run"
    processes: bool = False
    parts: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    config: type[Section] = Section

    @cached_property
    def sections(self) -> list[type]:
        """The classes that declare its keys, the command's own and those of its parts first."""
        kinds = [self.config, *(COMMANDS[part].config for part in self.parts)]
        return list(dict.fromkeys([*kinds, *(one for kind in kinds for one in kind.__mro__)]))

    @cached_property
    def keys(self) -> Mapping[str, Key]:
        """By name."""
        parts: dict[str, Key] = {}
        for part in self.parts:
            parts = {**COMMANDS[part].keys, **parts}
        kept = {name: one for name, one in parts.items() if name not in self.sets}
        return {**kept, **keys_of(self.config)}


COMMANDS: dict[str, Command] = {}


def command(name: str, function: str, summary: str, **more: Any) -> Callable[[type[S]], type[S]]:
    """Make the decorated configuration that of a command, described as in `Command`."""

    def register(config: type[S]) -> type[S]:
        COMMANDS[name] = Command(function, summary, config=config, **more)
        return config

    return register
