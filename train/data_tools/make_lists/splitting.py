"""Training and validation clips: by class, and never a group in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from train.config.keys import ConfigError
from train.config.tools import MakeListsConfig
from train.data_tools.make_lists.classes import Classes
from train.data_tools.make_lists.clips import VideoIndex
from train.data_tools.make_lists.groups import find_groups
from train.data_tools.make_lists.lists import Listed
from train.runs.progress import ProgressDisplay

# Orders of the groups that are tried; the split nearest to the wanted shares is taken. Of many
# small groups every order comes near.
_TRIES, _MANY = 64, 2000


def split_clips(
    config: MakeListsConfig,
    listed: list[Listed],
    classes: Classes,
    index: VideoIndex,
    display: ProgressDisplay,
) -> list[Listed]:
    """Every clip with a split and a group.

    The given splits; or, where there is no val, a share of what is not for the test.

    Raises:
        ConfigError: the groups or the given splits cannot be used.
    """
    if config.group is not None:
        groups = find_groups(config.group, [one.path for one in listed], index)
        listed = [replace(one, group=groups.get(one.path, one.group)) for one in listed]
        alone = sum(one.path not in groups for one in listed)
        of_groups = len({one.group for one in listed if one.path in groups})
        rest = f"; {alone} clips have none and stand alone" if alone else ""
        display.say(f"groups: {of_groups}{rest}")
    given = {one.split for one in listed}
    if not given <= {None, "train", "test"} and "train" not in given:
        raise ConfigError("the annotations have no clip for training; give train= too")
    if "val" in given:
        if None in given:
            raise ConfigError("some clips have a split and some have none; give all of them one")
        _warn_of_torn(listed, display)
        return listed
    own = [one for one in listed if one.split != "test"]
    for label in sorted({label for one in listed for label in one.labels}):
        if not any(label in one.labels for one in own):
            raise ConfigError(f"class {classes.names[label]!r} has no clip for training")
    training = split_groups(
        [one.labels for one in own],
        [one.group for one in own],
        classes.names,
        share=config.split,
        seed=config.seed,
    )
    sides = dict(zip([one.path for one in own], training, strict=True))
    result = [
        one if one.split == "test" else replace(one, split="train" if sides[one.path] else "val")
        for one in listed
    ]
    _warn_of_torn(result, display)
    return result


def _warn_of_torn(listed: Sequence[Listed], display: ProgressDisplay) -> None:
    """Say which groups the given splits tear apart: results on the others mean little."""
    splits: dict[str, set[str | None]] = {}
    for one in listed:
        splits.setdefault(one.group, set()).add(one.split)
    torn = [group for group, found in splits.items() if len(found) > 1]
    if torn:
        display.say(
            f"warning: {len(torn)} groups are in several splits, such as {torn[0]!r}: results on "
            "what was trained on mean nothing"
        )


def split_groups(
    labels: Sequence[tuple[int, ...]],
    groups: Sequence[str],
    class_names: Sequence[str],
    *,
    share: float,
    seed: int,
) -> list[bool]:
    """Which clips are for training: about a share of each class, and of each class some in both.

    Args:
        labels: of each clip, one or more.
        groups: of each clip; a group is never torn apart.
        class_names: K names.
        share: of the clips of each class, 0..1.
        seed: of chance.

    Raises:
        ConfigError: a group holds all clips of a class, or no way was found in which all classes
            are on both sides.
    """
    holdings: dict[str, Counter[int]] = {}
    for group, own in zip(groups, labels, strict=True):
        holdings.setdefault(group, Counter()).update(own)
    split = _Split(list(holdings.values()), len(class_names), share)
    _check_groups(split, list(holdings), class_names)
    rng = np.random.default_rng(seed)
    best, least = None, float("inf")
    for _ in range(_TRIES if len(holdings) < _MANY else 1):
        chosen = split.draw(rng)
        if chosen is not None and split.distance(chosen) < least:
            best, least = chosen, split.distance(chosen)
    if best is None:
        raise ConfigError(
            "group=: no way was found to have every class in train and in val without tearing one "
            f"of the {len(holdings)} groups apart; bring more groups, or give the lists with "
            "train= and val="
        )
    training = dict(zip(holdings, best, strict=True))
    return [training[group] for group in groups]


def _check_groups(split: _Split, names: Sequence[str], class_names: Sequence[str]) -> None:
    for label, holders in enumerate(split.holders):
        if len(holders) == 1:
            clips, name = split.total[label], class_names[label]
            what = f"class {name!r} has one clip"
            if clips > 1:
                what = f"group {names[holders[0]]!r} holds a whole class, {name!r} ({clips} clips)"
            raise ConfigError(
                f"{what}: it cannot be in train and in val; bring clips of another group, or leave "
                "the class out"
            )


class _Split:
    """How well sides of groups share out the classes.

    Args:
        holdings: of each group, its clips by class.
        num_classes: K.
        share: of the clips of each class that are for training.
    """

    def __init__(self, holdings: Sequence[Counter[int]], num_classes: int, share: float):
        self._holdings = holdings
        self._share = share
        self.total = [0] * num_classes
        self.holders: list[list[int]] = [[] for _ in range(num_classes)]
        for group, held in enumerate(holdings):
            for label, count in held.items():
                self.total[label] += count
                self.holders[label].append(group)

    def draw(self, rng: np.random.Generator) -> list[bool] | None:
        """For each group whether it is for training; None where a class is on one side only.

        The groups come by size, those of one size by chance, each to the side on which it brings
        the classes nearer to the share.
        """
        order = sorted(
            rng.permutation(len(self._holdings)).tolist(),
            key=lambda group: -self._holdings[group].total(),
        )
        training = [False] * len(order)
        placed, trained = [0] * len(self.total), [0] * len(self.total)
        for group in order:
            change = 0.0
            for label, count in self._holdings[group].items():
                placed[label] += count
                off = trained[label] - self._share * placed[label]
                change += ((off + count) ** 2 - off**2) / self.total[label] ** 2
            if change < 0:
                self._move(group, training, trained)
        return training if self._repair(training, trained) else None

    def distance(self, training: Sequence[bool]) -> float:
        """Squared distance of the classes' shares from the wanted one."""
        trained = [0] * len(self.total)
        for group, held in enumerate(self._holdings):
            for label, count in held.items():
                trained[label] += count * training[group]
        return sum(
            (count / total - self._share) ** 2
            for count, total in zip(trained, self.total, strict=True)
            if total
        )

    def _move(self, group: int, training: list[bool], trained: list[int]) -> None:
        training[group] = not training[group]
        sign = 1 if training[group] else -1
        for label, count in self._holdings[group].items():
            trained[label] += sign * count

    def _repair(self, training: list[bool], trained: list[int]) -> bool:
        """Move the smallest groups that bring a class to the side where it lacks, if that helps."""

        def one_sided(label: int) -> bool:
            return self.total[label] > 0 and trained[label] in (0, self.total[label])

        for label in range(len(self.total)):
            if not one_sided(label):
                continue
            for group in sorted(self.holders[label], key=lambda g: self._holdings[g].total()):
                before = sum(map(one_sided, self._holdings[group]))
                self._move(group, training, trained)
                if sum(map(one_sided, self._holdings[group])) < before:
                    break
                self._move(group, training, trained)
            else:
                return False
        return True
