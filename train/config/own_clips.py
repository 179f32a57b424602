"""Keys of the commands on a user's own clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from adafocus_env import limits
from train.config.keys import ConfigError, key, path
from train.config.sections import Section

# What the columns of a CSV of annotations can hold.
LIST_COLUMNS = ("path", "label", "split", "group", "start", "end")


@dataclass(frozen=True, kw_only=True)
class AnnotationsSection(Section):
    """What the videos show, and how they are shared out."""

    annotations: str | None = path(
        "FILE|FOLDER|PATTERN",
        "what the videos show: lines 'path label' or 'path frames label', a CSV, ActivityNet's or "
        "Something-Something's JSON, HMDB51's files; null: source holds class folders",
    )
    train: str | None = path("FILE", "annotations of the training clips alone")
    val: str | None = path("FILE", "likewise for validation")
    test: str | None = path("FILE", "likewise for the test")
    class_file: str | None = path(
        "FILE", "class names, one a line or with their numbers (text, CSV, JSON)"
    )
    columns: Mapping[str, str] | None = key(
        None,
        "of a CSV, by what they hold: path and label, also split, group, start, end",
        written="{path: NAME, label: NAME}",
    )
    separator: str | None = key(None, "between the columns of a file; null: found out")
    group: str | None = path(
        "REGEX|FILE",
        "clips that are never torn apart, such as those of a person: what the expression finds in "
        "the path (its brackets), or a file of lines 'path group'",
    )
    split: float = key(
        0.8, "share of each class for training, where there is no val", above=0, written="X"
    )
    seed: int = key(0, "of the split", at_least=0, at_most=limits.SEED)
    skip_bad: bool = key(False, "true: clips that are missing or broken are no failure")

    def _check(self) -> None:
        if self.split >= 1:
            raise ConfigError(f"split={self.split} must be between 0 and 1: the share of train")
        unknown = sorted(set(self.columns or {}) - set(LIST_COLUMNS))
        if unknown:
            raise ConfigError(f"columns has no {unknown[0]!r}; known are {', '.join(LIST_COLUMNS)}")
        if self.columns and not {"path", "label"} <= set(self.columns):
            raise ConfigError("columns= needs at least {path: NAME, label: NAME}")


@dataclass(frozen=True, kw_only=True)
class UnlabelledSection(Section):
    """Videos that nobody has labelled."""

    input: str | None = path("FILE|FOLDER", "a video, or a folder of videos at any depth")
    looks: Literal["none", "mp4", "gif", "png"] = key(
        "none",
        "also draw where the policy looks: a video, or a picture of every frame, a file each",
    )
