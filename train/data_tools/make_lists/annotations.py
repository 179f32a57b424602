"""Annotation files as clips: which kind a file is, and one reader for each kind.

The forms are those that the data sets are handed out in: the JSON of ActivityNet and of
Something-Something V2, the CSV of Kinetics, HMDB51's file for each class and split; any CSV whose
columns the user names; and lines of a path and a label (`lines`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from train.config.keys import ConfigError
from train.data_tools.make_lists.clips import Annotated, VideoIndex, split_named
from train.data_tools.make_lists.lines import read_lines

# How others call the columns of a CSV that has a header.
_KNOWN_COLUMNS = {
    "path": ("path", "video_path", "filename", "file", "video", "youtube_id", "video_id", "id"),
    "label": ("label", "class", "class_name", "category", "action"),
    "split": ("split", "subset", "set"),
    "group": ("group",),
    "start": ("time_start", "start_time"),
    "end": ("time_end", "end_time"),
}
_DELIMITERS = ",;\t|"
_HMDB51 = re.compile(r"(?P<label>.+)_test_split\d+")
_HMDB51_SPLITS = {"0": None, "1": "train", "2": "test"}  # 0: in neither


def read_annotations(
    path: Path,
    index: VideoIndex,
    *,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
) -> list[Annotated]:
    """The clips that a file of any of the known forms names, in its order.

    Args:
        path: the file.
        index: the videos; where a form can be read in several ways, the one that finds most.
        columns: of a CSV, by what they hold: any of `LIST_COLUMNS`; path and label at least.
        separator: between columns; None tries the usual ones.

    Raises:
        ConfigError: the file cannot be read, or is of no known form.
    """
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _json(path, text)
    if _HMDB51.fullmatch(path.stem):
        return _hmdb51(path, text)
    try:
        table = _table(text, columns, separator)
        if table is not None:
            return _csv(path, text, *table)
    except csv.Error as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}") from error
    if columns:
        raise ConfigError(
            f"{path}: columns={dict(columns)} are not all in its first line, {_first_line(text)!r}"
        )
    return read_lines(path, text, index, separator)


def annotation_files(pattern: str) -> list[Path]:
    """The file, or the files that a folder or a pattern such as `FOLDER/*_split1.txt` stands for.

    Raises:
        ConfigError: there is none, or a folder holds HMDB51's files of several splits.
    """
    path = Path(pattern)
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if item.is_file() and item.name[0] != ".")
    elif path.is_file():
        return [path]
    else:
        found = sorted(item for item in path.parent.glob(path.name) if item.is_file())
    if not found:
        raise ConfigError(f"annotations={pattern}: no such file, and no folder with files")
    numbers = {re.sub(r".*_test_split", "", item.stem) for item in found if _hmdb51_name(item)}
    if len(numbers) > 1:
        raise ConfigError(
            f"annotations={pattern} holds the splits {', '.join(sorted(numbers))}; name one: "
            f"'annotations={path / '*_test_split1.txt'}'"
        )
    return found


def _hmdb51_name(path: Path) -> bool:
    return _HMDB51.fullmatch(path.stem) is not None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file ({error}); save it as UTF-8") from error


def _json(path: Path, text: str) -> list[Annotated]:
    try:
        content = from_json(text)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error
    try:
        if isinstance(content, dict) and isinstance(content.get("database"), dict):
            return list(_activitynet(path, content["database"]))
        if isinstance(content, list) and content and "id" in content[0]:
            return list(_something(path, content))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: an entry is not as in ActivityNet or Something-Something V2: {error!r}"
        ) from error
    raise ConfigError(
        f"{path}: a JSON file of no known form; known are ActivityNet's (with 'database') and "
        "Something-Something V2's (a list of entries with 'id')"
    )


def _activitynet(path: Path, database: Mapping[str, Any]) -> Iterable[Annotated]:
    for name, video in database.items():
        labels = dict.fromkeys(one["label"] for one in video.get("annotations", ()))
        split = split_named(video["subset"], f"{path}: {name}")
        yield Annotated((f"v_{name}", name), tuple(labels), split, place=f"{path}: {name}")


def _something(path: Path, entries: Sequence[Mapping[str, Any]]) -> Iterable[Annotated]:
    for entry in entries:
        # The class is the template; the label has objects in the place of its brackets.
        label = entry.get("template", entry.get("label"))
        labels = () if label is None else (str(label).replace("[", "").replace("]", ""),)
        yield Annotated((str(entry["id"]),), labels, place=f"{path}: {entry['id']}")


def _hmdb51(path: Path, text: str) -> list[Annotated]:
    match = _HMDB51.fullmatch(path.stem)
    assert match is not None
    clips = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, code = line.strip().rpartition(" ")
        if code not in _HMDB51_SPLITS or not name:
            raise ConfigError(f"{path}:{number}: expected 'file 0|1|2', got {line!r}")
        split = _HMDB51_SPLITS[code]
        if split is not None:
            names = (f"{match['label']}/{name.strip()}", name.strip())
            clips.append(Annotated(names, (match["label"],), split, place=f"{path}:{number}"))
    return clips


def _table(
    text: str, columns: Mapping[str, str] | None, separator: str | None
) -> tuple[dict[str, str], str] | None:
    """The columns of a CSV by what they hold, and its separator; None without a known header."""
    header = _first_line(text)
    if separator is not None and len(separator) > 1:  # of lines of another kind
        return None
    for delimiter in [separator] if separator else [*_DELIMITERS, " "]:
        cells = [cell.strip() for cell in next(csv.reader([header], delimiter=delimiter))]
        lower = {cell.lower(): cell for cell in cells}
        if columns:
            if set(columns.values()) <= set(cells):
                return dict(columns), delimiter
            continue
        known = {
            what: next((lower[name] for name in names if name in lower), "")
            for what, names in _KNOWN_COLUMNS.items()
        }
        if known["path"] and known["label"] and known["path"] != known["label"]:
            return {what: name for what, name in known.items() if name}, delimiter
    return None


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")


def _csv(path: Path, text: str, columns: Mapping[str, str], delimiter: str) -> list[Annotated]:
    content = text.lstrip()
    lines_above = text[: len(text) - len(content)].count("\n")
    file = io.StringIO(content, newline="")
    reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    clips = []
    for row in reader:
        place = f"{path}:{lines_above + reader.line_num}"
        cells = {what: (row.get(name) or "").strip() for what, name in columns.items()}
        if not cells["path"]:
            raise ConfigError(f"{place}: no {columns['path']} in this line")
        split = split_named(cells["split"], place) if cells.get("split") else None
        labels = (cells["label"],) if cells["label"] else ()
        names = _with_times(cells, place) if "start" in columns and "end" in columns else ()
        group = cells.get("group") or None
        clips.append(Annotated((*names, cells["path"]), labels, split, group, place))
    return clips


def _with_times(cells: Mapping[str, str], place: str) -> tuple[str, ...]:
    """How downloaders of Kinetics call a clip: the video's id and its seconds."""
    try:
        start, end = round(float(cells["start"])), round(float(cells["end"]))
    except (ValueError, OverflowError):
        raise ConfigError(f"{place}: the times {cells['start']!r} and {cells['end']!r}") from None
    name = cells["path"]
    return (f"{name}_{start:06d}_{end:06d}", f"{name}_{start}_{end}")
