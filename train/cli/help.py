"""What `--help` says of the commands and their keys."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING

from train.config.commands import COMMANDS
from train.config.keys import Key
from train.config.learning import BatchSection, ScheduleSection
from train.config.sections import ClassesSection, ResumeSection
from train.config.yaml_files import GROUPS, options

# Of the sections that a command shares with others, those that help shows first.
_MOST_USED = (ResumeSection, ClassesSection, ScheduleSection, BatchSection)
_WIDTH = 100
_COLUMN = 34


_USAGE = """usage: adafocus COMMAND [key=value ...]
       adafocus COMMAND --help
       adafocus --version"""

_SWEEP = (
    "A sweep is a run for each value: adafocus COMMAND -m seed=0,1,2 ...; the same command with "
    "its output_dir makes only what is missing."
)


def overview() -> str:
    """What `adafocus --help` prints: what does all at once, tools, then one stage at a time."""
    width = max(map(len, COMMANDS))
    blocks = (
        "\n".join(
            f"  {n:<{width}}  {one.summary}" for n, one in COMMANDS.items() if one.kind == kind
        )
        for kind in ("parts", "tool", "run")
    )
    lines = "\n\n".join(blocks)
    return (
        "adafocus: train and benchmark policies that decide where to look in video\n\n"
        f"{_USAGE}\n\ncommands:\n{lines}\n\n"
        "Every run writes to outputs/DATE/TIME, or to output_dir=FOLDER."
    )


def unknown_command(name: str) -> str:
    """The message about a command that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"adafocus: unknown command {name!r}{hint}\n\n{overview()}"


def command_help(name: str) -> str:
    """What `adafocus COMMAND --help` prints: its keys by section, the most used first."""
    lines = [f"adafocus {name}: {COMMANDS[name].summary}", ""]
    lines += [f"usage: adafocus {name} [key=value ...]"]
    keys = dict(COMMANDS[name].keys)
    groups = [group for group, key in GROUPS.items() if key in keys and group not in keys]
    if groups:
        lines += ["", "Files that set many keys:"]
        for group in groups:
            lines += _entry(f"{group}=NAME", ", ".join(options(group)))
    command, *others = COMMANDS[name].sections
    for section in (command, *(one for one in _MOST_USED if one in others), *others):
        own = [keys.pop(key) for key in vars(section).get("__annotations__", ()) if key in keys]
        if own:
            title = (section.__doc__ or "").splitlines()[0].rstrip(".")
            lines += ["", f"{title}:"]
            lines += [line for one in own for line in _entry(f"{one.name}={one.form}", _about(one))]
    lines += ["", *textwrap.wrap(_SWEEP, _WIDTH)]
    return "\n".join(lines)


def _about(one: Key) -> str:
    """Meaning and default."""
    parts = [", ".join(options(one.name))] if one.name in GROUPS else []
    parts.append(one.help)
    if isinstance(one.default, bool):
        parts.append(f"default {str(one.default).lower()}")
    elif isinstance(one.default, tuple):
        parts.append(f"default [{','.join(map(str, one.default))}]")
    elif one.default is not MISSING and one.default is not None:
        parts.append(f"default {one.default}")
    return "; ".join(parts)


def _entry(left: str, right: str) -> Iterator[str]:
    """Two columns; the left one gets a line of its own where it is long."""
    lines = textwrap.wrap(right, _WIDTH - _COLUMN) or [""]
    if len(left) + 4 > _COLUMN:
        yield f"  {left}"
        left = ""
    yield f"  {left:<{_COLUMN - 2}}{lines[0]}".rstrip()
    for line in lines[1:]:
        yield " " * _COLUMN + line
