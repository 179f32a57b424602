"""List files and class files: which videos a split has, how long they are, what they show."""

from __future__ import annotations

import logging
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adafocus_env import limits
from adafocus_env.data.media.nearest import nearest

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")


class ListFileError(ValueError):
    """A list or class file cannot be used; the message names the file, the line and the cure."""


@dataclass(frozen=True)
class VideoRecord:
    """One line of a list file.

    Attributes:
        path: the video, without links; below the data folder.
        num_frames: n, its frames (of the frame rate at which the list was made), at least 1.
        labels: its classes, distinct and ascending, at least one. The order is fixed: what asks for
            one label always gets the first.
        line: line of the list file, from 1; 0 for a record that comes from no file.
    """

    path: Path
    num_frames: int
    labels: tuple[int, ...]
    line: int = field(default=0, compare=False)

    @property
    def label(self) -> int:
        """The first label."""
        return self.labels[0]


@dataclass(frozen=True)
class ListFormat:
    """How a list file is written.

    Attributes:
        separator: between columns; a blank stands for any run of white space.
        multi_label: False: `path, frames, label`, where the path may contain the separator; True:
            `path, frames, label, label, ...`, where it may not.
        min_frames: records with fewer frames are left out. With 1, a record without frames is an
            error.
    """

    separator: str = ","
    multi_label: bool = False
    min_frames: int = 1

    def __str__(self) -> str:
        s = self.separator
        return f"path{s}frames{s}label" + (f"[{s}label ...]" if self.multi_label else "")


@dataclass(frozen=True)
class ListContents:
    """What a list file holds.

    Attributes:
        records: its usable records, in the file's order.
        problems: `FILE:LINE: what is wrong; cure` of each line that cannot be used.
        num_short: records left out because they have fewer than `min_frames` frames.
    """

    records: list[VideoRecord]
    problems: list[str]
    num_short: int

    def short_note(self, path: Path, list_format: ListFormat) -> str:
        """A line about the records that were left out."""
        total = self.num_short + len(self.records)
        return (
            f"{path}: {self.num_short} of {total} videos with fewer than {list_format.min_frames} "
            "frames left out"
        )


def read_class_file(path: Path, *, num_classes: int | None = None) -> tuple[str, ...]:
    """The class names, one a line.

    Blank lines at the end are ignored. (The published code counts them as classes; its files end
    with one newline, so both find the same number.)

    Args:
        path: the class file.
        num_classes: how many there must be; None takes any number.

    Raises:
        FileNotFoundError: no such file.
        ListFileError: no class in it, another number of classes, a blank line between classes, or
            two of the same name.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"class file {path} does not exist{nearest(path)}; a class file names one class a "
            "line, and 'adafocus make-lists' writes it and the lists"
        )
    names = [line.strip() for line in _read_lines(path)]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ListFileError(f"{path}: the class file is empty; write one class name a line")
    lines: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            raise ListFileError(f"{path}:{number}: blank line between class names; remove it")
        if lines.setdefault(name, number) != number:
            raise ListFileError(
                f"{path}:{number}: class {name!r} is in line {lines[name]}, too; each class has "
                "one name of its own"
            )
    if num_classes not in (None, len(names)):
        raise ListFileError(
            f"{path}: {len(names)} classes, but the data set has {num_classes}; is this the class "
            "file of another data set?"
        )
    return tuple(names)


def read_list_file(
    path: Path, root: Path, num_classes: int, list_format: ListFormat | None = None
) -> list[VideoRecord]:
    """Read the records of a list file; too short ones are left out with a warning in the log.

    Args:
        path: the list file.
        root: folder that the records' paths are relative to; none may leave it. It may be a link.
        num_classes: labels must be below this.
        list_format: columns and separator; None is `path,frames,label`.

    Raises:
        FileNotFoundError: no such list file.
        ListFileError: no record, a missing column, a number that is none, a label out of range, or
            a path that is absolute or leaves `root`, be it by a link.
    """
    list_format = list_format or ListFormat()
    contents = scan_list_file(path, root, num_classes, list_format)
    if contents.problems:
        raise ListFileError(contents.problems[0])
    if contents.num_short:
        log.warning(contents.short_note(path, list_format))
    return contents.records


def scan_list_file(
    path: Path, root: Path, num_classes: int, list_format: ListFormat
) -> ListContents:
    """All that a list file holds, with every line that cannot be used; see `read_list_file`.

    Raises:
        FileNotFoundError: no such list file.
        ListFileError: the file is no UTF-8 text.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"list file {path} does not exist{nearest(path)}; a list file holds one video a line, "
            "and 'adafocus make-lists' writes it"
        )
    root = root.resolve()
    found: list[VideoRecord] = []
    wrong: dict[int, str] = {}  # line -> what is wrong with it
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            found.append(_parse_record(line.strip(), number, root, list_format))
        except ValueError as error:
            wrong[number] = str(error)
    wrong |= _wrong_labels(found, num_classes)
    problems = [f"{path}:{number}: {wrong[number]}" for number in sorted(wrong)]
    good = [record for record in found if record.line not in wrong]
    records = [record for record in good if record.num_frames >= list_format.min_frames]
    num_short = len(good) - len(records)
    if not records and not problems:
        reason = f"all {num_short} videos have fewer than {list_format.min_frames} frames"
        reason = reason if num_short else "the list file is empty"
        problems.append(f"{path}: {reason}; write '{list_format}' a line")
    return ListContents(records, problems, num_short)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ListFileError(f"{path}: not a UTF-8 text file ({error}); save it as UTF-8") from error


def _wrong_labels(records: Sequence[VideoRecord], num_classes: int) -> dict[int, str]:
    """By line, labels out of range; the cure is another where all labels count from 1."""
    labels = {label for record in records for label in record.labels}
    cure = "is this the right class file?"
    if labels and (min(labels), max(labels)) == (1, num_classes):
        cure = "the labels of this list begin at 1, and label 0 is the first class: subtract 1"
    lowest_wrong = {
        record.line: min((k for k in record.labels if not 0 <= k < num_classes), default=None)
        for record in records
    }
    return {
        line: f"label {reprlib.repr(label)} is not in 0..{num_classes - 1}; {cure}"
        for line, label in lowest_wrong.items()
        if label is not None
    }


def _parse_record(line: str, number: int, root: Path, list_format: ListFormat) -> VideoRecord:
    name, frames, *labels = _columns(line, list_format)
    try:
        num_frames, *label_indices = map(_integer, (frames, *labels))
    except ValueError:
        given = " and ".join(reprlib.repr(column) for column in (frames, *labels))
        raise ValueError(
            f"frames and label must be integers, got {given}; expected '{list_format}'"
        ) from None
    if num_frames < 0 or num_frames < list_format.min_frames == 1:
        raise ValueError(
            f"a video needs at least one frame, got {num_frames}; correct the number or remove "
            "the line"
        )
    if num_frames > limits.VIDEO_FRAMES:
        raise ValueError(
            f"{reprlib.repr(num_frames)} frames, and no video has more than "
            f"{limits.VIDEO_FRAMES}; correct the number"
        )
    return VideoRecord(
        path_inside(root, name), num_frames, tuple(sorted(set(label_indices))), number
    )


def _integer(text: str) -> int:
    """Python's own reading takes `1_0`, and digits of other scripts, too."""
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(text)
    return int(text)


def _columns(line: str, list_format: ListFormat) -> list[str]:
    """Path, frames and at least one label, as texts."""
    separator = None if list_format.separator == " " else list_format.separator
    parts = line.split(separator) if list_format.multi_label else line.rsplit(separator, 2)
    columns = [part.strip() for part in parts]
    if len(columns) < 3 or not columns[0]:
        raise ValueError(f"expected '{list_format}', got {line!r}")
    return columns


def path_inside(root: Path, name: str) -> Path:
    """`root / name` without links.

    Args:
        root: a folder, without links.
        name: a relative path.

    Raises:
        ValueError: the path is absolute or leaves `root`, be it by `..` or by a link.
    """
    if "\0" not in name and not Path(name).is_absolute():
        try:
            path = (root / name).resolve()
        except (OSError, RuntimeError):  # links that go round
            path = Path("/")
        if path.is_relative_to(root):
            return path
    raise ValueError(f"path {name!r} leaves the data folder {root}; use a path inside it")
