"""Which class each label is: names and numbers of annotations as indices from 0."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json

from adafocus_env.files import regular
from train.config.keys import ConfigError
from train.data_tools.make_lists.clips import Annotated

_NUMBERED = re.compile(
    r"(\d+)[\s,;:]+(\S.*)"
)  # UCF101's `1 ApplyEyeMakeup`, Kinetics' `0,abseiling`
_NAME_FIRST = re.compile(r"(.*\S)[\s,;:]+(\d+)")


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: of class 0, 1, ...
        index: of a label as annotations write it.
        note: what was recognised that the user should know; empty for nothing.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]
    note: str = ""

    def of(self, clip: Annotated) -> tuple[int, ...]:
        """The indices of a clip's labels, ascending.

        Raises:
            ConfigError: a label is none of the classes.
        """
        for label in clip.labels:
            if label not in self.index and _plain(label) not in self.index:
                raise ConfigError(
                    f"{clip.place}: label {label!r} is none of the {len(self.names)} classes, such "
                    f"as {self.names[0]!r}; is this the class_file of another data set?"
                )
        found = {self.index.get(label, self.index.get(_plain(label), 0)) for label in clip.labels}
        return tuple(sorted(found))


def find_classes(
    clips: Sequence[Annotated],
    present: Sequence[Annotated],
    class_file: Path | None,
    *,
    numbered: bool = True,
) -> Classes:
    """The classes of annotated clips.

    Args:
        clips: with their labels.
        present: those whose video is there; without a class file, classes that have a name are
            those of these.
        class_file: names, one a line in order, or with numbers (text, CSV or JSON); or None.
        numbered: whether labels that are numbers count classes; False: they are names.

    Raises:
        ConfigError: the class file cannot be used, or some labels are numbers and some are not.
    """
    labels = {label for clip in clips for label in clip.labels}
    numbers = sorted({int(label) for label in labels if label.isdecimal()}) if numbered else []
    if 2 * len(numbers) > len(labels) > len(numbers):
        _refuse_words_among_numbers(clips)
    if len(numbers) < len(labels):
        numbers = []
    if class_file is not None:
        given = _read_class_file(class_file)
        if not numbers:
            return _by_name([name for _, name in given])
        return _by_number(labels, numbers, dict(given), class_file)
    if not numbers:
        return _by_name(sorted({label for clip in present for label in clip.labels}))
    first = numbers[0]
    consecutive = numbers == list(range(first, first + len(numbers)))
    if consecutive and first == 1:
        note = (
            f"labels begin at 1: class 0 is label 1, class {len(numbers) - 1} label {numbers[-1]}"
        )
    else:
        note = (
            "" if consecutive and first == 0 else f"labels are {_short(numbers)}: renumbered from 0"
        )
    names = _names_of_folders(clips, numbers)
    if names is None:
        names = [f"class_{number}" for number in numbers]
        called = f"classes are called {names[0]} to {names[-1]}; class_file= has their names"
        note = "; ".join(part for part in (note, called) if part)
    return Classes(tuple(names), _positions(labels, numbers), note)


def _refuse_words_among_numbers(clips: Sequence[Annotated]) -> None:
    for clip in clips:
        for label in clip.labels:
            if not label.isdecimal():
                raise ConfigError(
                    f"{clip.place}: label {label!r} is no number, and those of other clips are"
                )


def _by_name(names: Sequence[str]) -> Classes:
    index = {_plain(name): i for i, name in enumerate(names)}
    if len(index) < len(names):  # names that differ in signs only are told apart by them
        index = {}
    return Classes(tuple(names), {**index, **{name: i for i, name in enumerate(names)}})


def _positions(labels: Collection[str], numbers: Sequence[int]) -> dict[str, int]:
    position = {number: i for i, number in enumerate(numbers)}
    return {label: position[int(label)] for label in labels}


def _by_number(
    labels: Collection[str], numbers: Sequence[int], given: Mapping[int, str], class_file: Path
) -> Classes:
    """Labels are the file's numbers, or count from 1 where those count from 0, and the reverse."""
    order = sorted(given)
    names = tuple(given[number] for number in order)
    for shift, note in (
        (0, "labels begin at 1, as the class file's numbers do" if order[0] == 1 else ""),
        (-1, f"labels begin at 1: class 0, {names[0]}, is label 1"),
        (1, ""),  # the file's numbers begin at 1, the labels at 0
    ):
        shifted = [number - shift for number in order]
        if set(numbers) <= set(shifted):
            return Classes(names, _positions(labels, shifted), note)
    raise ConfigError(
        f"{class_file}: {len(names)} classes, but labels are {_short(numbers)}; is this the class "
        "file of another data set?"
    )


def _names_of_folders(clips: Sequence[Annotated], numbers: Sequence[int]) -> list[str] | None:
    """The folders of the clips, where each class has one of its own."""
    folders: dict[int, set[str]] = {number: set() for number in numbers}
    for clip in clips:
        for label in clip.labels:
            folders[int(label)].add(Path(clip.names[0]).parent.name)
    names = [next(iter(found)) for found in folders.values() if len(found) == 1]
    alone = len(set(names)) == len(numbers) and all(names)
    return names if alone else None


def _read_class_file(path: Path) -> list[tuple[int, str]]:
    """(number, name); numbers are those of the file, or those of its lines from 0."""
    try:
        text = regular(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file ({error}); save it as UTF-8") from error
    if text.lstrip()[:1] in ("{", "["):
        found = _of_json(path, text)
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        first = re.split("[,;\t]", lines[0]) if lines else ()
        if [cell.strip(' "').lower() for cell in first] in _HEADERS:
            lines = lines[1:]
        found = _numbered(lines) or list(enumerate(lines))
    if not found:
        raise ConfigError(f"{path}: the class file is empty; write one class name a line")
    if any(len(set(column)) < len(found) for column in zip(*found, strict=True)):
        raise ConfigError(f"{path}: a class is named twice; remove one of the lines")
    return found


_HEADERS = (["id", "name"], ["name", "id"], ["label", "name"], ["index", "class"], ["id", "label"])


def _numbered(lines: Sequence[str]) -> list[tuple[int, str]]:
    for pattern, number, name in ((_NUMBERED, 1, 2), (_NAME_FIRST, 2, 1)):
        matches = [pattern.fullmatch(line) for line in lines]
        found = [(int(m[number]), m[name].strip('"')) for m in matches if m is not None]
        if len(found) == len(lines) == len({value for value, _ in found}):
            return found
    return []


def _of_json(path: Path, text: str) -> list[tuple[int, str]]:
    """Something-Something's `{"name": "0"}`, `{"0": "name"}`, or a list of names."""
    try:
        content = from_json(text)
        if isinstance(content, list):
            return list(enumerate(map(str, content)))
        pairs = [(str(a), str(b)) for a, b in content.items()]
        if all(b.isdecimal() for _, b in pairs):
            return [(int(b), a.replace("[", "").replace("]", "")) for a, b in pairs]
        return [(int(a), b) for a, b in pairs]
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected a JSON list of names, or names with their numbers: {error}"
        ) from error


def _plain(name: str) -> str:
    """A name without what is written now so, now so: case, blanks, underscores, signs."""
    return re.sub(r"[\W_]+", "", name).lower()


def _short(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown}, ... {numbers[-1]}" if len(numbers) > 5 else shown
