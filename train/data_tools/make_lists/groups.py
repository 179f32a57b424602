"""Groups of clips that belong together: `group=REGEX|FILE`, and the file `groups.txt`.

A line of `groups.txt` is `path group`: the path as in the lists, a blank, and the group, in which
`%`, blanks and what does not print are written as in a web address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from adafocus_env.files import write_lines
from train.config.keys import ConfigError
from train.data_tools.make_lists.clips import VideoIndex

GROUPS_FILE = "groups.txt"


def find_groups(rule: str, paths: Sequence[str], index: VideoIndex) -> dict[str, str]:
    """The group of each path that has one.

    Args:
        rule: a file with a line `path group` for each clip; or a regular expression that is
            searched for in the path: what its brackets hold, or else all that it finds, names the
            group.
        paths: relative to the folder of the videos.
        index: the videos.

    Raises:
        ConfigError: the file or the expression cannot be used, or no clip has a group by it.
    """
    file = Path(rule)
    groups = _of_file(file, index) if file.is_file() else _by_pattern(rule, paths)
    if not groups.keys() & set(paths):
        raise ConfigError(
            f"group={rule} gives no clip a group, such as {paths[0]!r}; it is a file of lines "
            "'path group', or a regular expression that finds the group in the path"
        )
    return groups


def group_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, path and group of each line of a `groups.txt`.

    Raises:
        ConfigError: a line is not `path group`.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file ({error}); save it as UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *group = line.strip().rsplit(None, 1)
        if not group:
            raise ConfigError(f"{path}:{number}: expected 'path group', got {line!r}")
        yield number, name, unquote(group[0])


def read_groups(path: Path) -> dict[str, str]:
    """The group of each path in a `groups.txt`."""
    return {name: group for _, name, group in group_lines(path)}


def write_groups(path: Path, groups: Mapping[str, str]) -> None:
    """Write a `groups.txt`."""
    write_lines(path, [f"{name} {_quoted(group)}" for name, group in groups.items()])


def _of_file(path: Path, index: VideoIndex) -> dict[str, str]:
    groups = {}
    for name, group in read_groups(path).items():
        found = index.find((name,))
        if found is not None:
            groups[found] = group
    return groups


def _by_pattern(pattern: str, paths: Sequence[str]) -> dict[str, str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"group={pattern} is no file and no regular expression: {error}"
        ) from error
    groups = {}
    for path in paths:
        match = compiled.search(path)
        if match is not None:
            groups[path] = "/".join(part or "" for part in match.groups()) or match[0]
    return {path: group for path, group in groups.items() if group}


def _quoted(group: str) -> str:
    return "".join(
        c if c.isprintable() and not c.isspace() and c != "%" else _percent(c) for c in group
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())
