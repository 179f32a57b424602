"""What is wrong with the list files and the class file of a data set, without opening a video."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adafocus_env.data import DataFiles, ListFileError
from adafocus_env.data.lists.list_files import (
    SPLITS,
    ListContents,
    VideoRecord,
    read_class_file,
    scan_list_file,
)

_NAMES_SHOWN = 5


@dataclass
class Findings:
    """Lines for the user, each with file, line and cure.

    Attributes:
        errors: what would break training.
        warnings: what is likely a mistake.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_lists(files: DataFiles, findings: Findings) -> dict[str, ListContents]:
    """Read the class file and the lists of all splits; a list of the split `test` may be missing.

    Args:
        files: where they are.
        findings: is added to.

    Returns:
        what the lists hold, by split.
    """
    try:
        class_names = read_class_file(files.class_file, num_classes=files.lists.num_classes)
    except (ListFileError, FileNotFoundError) as error:
        findings.errors.append(str(error))
        class_names = ()
    contents = {}
    for split in SPLITS:
        path = files.list_file(split)
        if split == "test" and not path.exists():
            continue
        try:
            # Without a class file no label is out of range.
            contents[split] = scan_list_file(
                path, files.root, len(class_names) or sys.maxsize, files.lists.list_format
            )
        except (ListFileError, FileNotFoundError) as error:
            findings.errors.append(str(error))
            continue
        findings.errors += contents[split].problems
        if contents[split].num_short:
            findings.warnings.append(contents[split].short_note(path, files.lists.list_format))
    if class_names and "train" in contents:
        findings.warnings += _unused_classes(files.class_file, class_names, contents)
    _check_repeats(files, contents, findings)
    return contents


def _unused_classes(
    class_file: Path, class_names: tuple[str, ...], contents: Mapping[str, ListContents]
) -> list[str]:
    """Classes without a training video, and labels that end before the class file does."""
    in_train = _labels(contents["train"])
    missing = [name for index, name in enumerate(class_names) if index not in in_train]
    lines = []
    if missing:
        named = ", ".join(missing[:_NAMES_SHOWN]) + (", ..." if len(missing) > _NAMES_SHOWN else "")
        lines.append(
            f"{class_file}: {len(missing)} of {len(class_names)} classes have no training video: "
            f"{named}; add videos or remove the classes"
        )
    labels = set().union(*(_labels(content) for content in contents.values()))
    if labels and min(labels) == 1:
        lines.append(
            f"{class_file}: the lowest label in the lists is 1, and label 0 is the first class, "
            f"{class_names[0]!r}; if the lists count from 1, subtract 1"
        )
    highest = max((max(_labels(c), default=-1) for c in contents.values()), default=-1)
    if 0 <= highest < len(class_names) - 1:
        lines.append(
            f"{class_file}: the labels in the lists end at {highest} but there are "
            f"{len(class_names)} classes; is this the class file of another data set?"
        )
    return lines


def _labels(contents: ListContents) -> set[int]:
    return {label for record in contents.records for label in record.labels}


def _check_repeats(
    files: DataFiles, contents: Mapping[str, ListContents], findings: Findings
) -> None:
    """The same video in two splits, twice in one, or with different labels."""
    places: dict[Path, list[tuple[str, VideoRecord]]] = defaultdict(list)
    for split, content in contents.items():
        for record in content.records:
            places[record.path].append((split, record))
    for path, found in places.items():
        if len(found) == 1:
            continue
        lines = ", ".join(f"{files.list_file(split)}:{record.line}" for split, record in found)
        if len({record.labels for _, record in found}) > 1:
            findings.errors.append(
                f"{lines}: {path} has different labels in these lines; keep the right one"
            )
        splits = Counter(split for split, _ in found)
        if len(splits) > 1:
            findings.warnings.append(
                f"{lines}: {path} is in {' and '.join(splits)}: results on a split that was "
                "trained on mean nothing; keep one of the lines"
            )
        if max(splits.values()) > 1:
            findings.warnings.append(f"{lines}: {path} is listed twice; remove one of the lines")
