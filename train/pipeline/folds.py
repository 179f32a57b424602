"""Folds: parts of a set of clips that keep together what belongs together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adafocus_env.data.lists.list_files import VideoRecord
from train.config.keys import ConfigError
from train.data_tools.make_lists.groups import group_lines


@dataclass(frozen=True)
class GroupedClip:
    """A clip that folds are made of.

    Attributes:
        record: its line in a list.
        group: clips of one group, such as a person or a source video, are never parted.
    """

    record: VideoRecord
    group: str


def read_groups(file: Path, root: Path) -> dict[Path, str]:
    """Group by video, from lines of `path group`.

    Args:
        file: as `make-lists` writes it.
        root: the folder that paths are relative to.

    Raises:
        ConfigError: a line cannot be read, or names a video a second time.
    """
    found: dict[Path, str] = {}
    for number, path, group in group_lines(file):
        place = (root / path).resolve()
        if place in found:
            raise ConfigError(f"{file}:{number}: {path} is there twice; remove one")
        found[place] = group
    return found


def with_groups(records: Sequence[VideoRecord], groups: Mapping[Path, str]) -> list[GroupedClip]:
    """Records with their groups; one that is in no group is a group of its own.

    Raises:
        ConfigError: groups were given and hold none of the clips.
    """
    if groups and not any(record.path in groups for record in records):
        example, first = next(iter(groups)), records[0].path
        raise ConfigError(
            f"the groups file names none of the clips: it has {example}, the lists have {first}; "
            "write paths as in the lists"
        )
    return [GroupedClip(one, groups.get(one.path, str(one.path))) for one in records]


def split_by_group(clips: Sequence[GroupedClip], count: int, *, seed: int) -> list[list[int]]:
    """Indices of the clips in `count` parts of about equal size and mix of classes.

    The largest groups come first, each into the part where classes then lie most evenly.

    Args:
        clips: in any order.
        count: of parts, each of which gets a group at least.
        seed: of the order of groups of one size.

    Raises:
        ConfigError: there are fewer groups than parts.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        members[clip.group].append(index)
    if len(members) < count:
        raise ConfigError(
            f"{count} parts need as many groups of clips, and there are {len(members)}; use fewer "
            "folds"
        )
    labels = np.array([clip.record.label for clip in clips])
    classes = np.eye(labels.max() + 1)[labels]
    share = classes / classes.sum(axis=0).clip(min=1)  # a clip of a rare class counts more
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: -len(members[name]))
    filled = np.zeros((count, classes.shape[1]))
    parts: list[list[int]] = [[] for _ in range(count)]
    for name in names:
        added = share[members[name]].sum(axis=0)
        # How much less even each part would make them; an empty one goes first.
        uneven = ((filled + added) ** 2 - filled**2).sum(axis=1)
        costs = [(bool(parts[k]), float(uneven[k]), len(parts[k])) for k in range(count)]
        chosen = min(range(count), key=lambda k: costs[k])
        parts[chosen] += members[name]
        filled[chosen] += added
    return [sorted(part) for part in parts]


def check_classes_can_be_learned(clips: Sequence[GroupedClip], names: Sequence[str]) -> None:
    """Refuse sets in which no part could say anything about the rest.

    Raises:
        ConfigError: there is one class only, or a class whose clips are all of one group.
    """
    groups: dict[int, set[str]] = defaultdict(set)
    for clip in clips:
        groups[clip.record.label].add(clip.group)
    if len(groups) < 2:
        raise ConfigError(
            f"all {len(clips)} clips are of one class, {names[next(iter(groups))]!r}; there is "
            "nothing to tell apart"
        )
    for label, found in sorted(groups.items()):
        if len(found) < 2:
            raise ConfigError(
                f"all clips of the class {names[label]!r} are of one group, {next(iter(found))!r}: "
                "what is learned from them cannot be tested on others; add clips of other groups, "
                "or leave the class out"
            )
