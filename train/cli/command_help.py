"""What the command line says of its commands."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from train.config.paths import configs_path


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        function: `module:function`, called with the Hydra configuration and a progress display.
        summary: one line for the overview.
        keys: the keys a user of this command changes most, with their meaning.
    """

    function: str
    summary: str
    keys: tuple[tuple[str, str], ...] = ()


def overview(commands: Mapping[str, Command]) -> str:
    """What `adafocus --help` prints."""
    width = max(map(len, commands))
    lines = "\n".join(f"  {name:<{width}}  {c.summary}" for name, c in commands.items())
    return (
        "adafocus: train and benchmark policies that decide where to look in video\n\n"
        "usage: adafocus COMMAND [key=value ...]\n"
        "       adafocus COMMAND --help\n"
        "       adafocus --version\n\n"
        f"commands:\n{lines}\n\n"
        "Every run writes to outputs/DATE/TIME, or to output_dir=FOLDER. Keys: configs/config.yaml."
    )


def command_help(name: str, command: Command) -> str:
    """What `adafocus COMMAND --help` prints."""
    width = max((len(key) for key, _ in command.keys), default=0)
    keys = "\n".join(f"  {key:<{width}}  {meaning}" for key, meaning in command.keys)
    return (
        f"adafocus {name}: {command.summary}\n\n"
        f"usage: adafocus {name} [key=value ...]\n\n"
        f"often used keys:\n{keys}\n  {'output_dir=FOLDER':<{width}}  where the run writes\n\n"
        f"All keys with their defaults: {configs_path() / 'config.yaml'}"
    )


def unknown_command(name: str, commands: Mapping[str, Command]) -> str:
    """The message about a command that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, commands, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"adafocus: unknown command {name!r}{hint}\n\n{overview(commands)}"
