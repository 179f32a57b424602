"""The files that make-lists writes, and what it prints of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from adafocus_env.data import VideoLists
from adafocus_env.data.lists.list_files import SPLITS
from adafocus_env.files import write_json, write_lines
from train.config.keys import ConfigError
from train.config.tools import MakeListsConfig
from train.data_tools.make_lists.classes import Classes
from train.data_tools.make_lists.groups import GROUPS_FILE, write_groups
from train.runs.progress import ProgressDisplay

REPORT_FILE = "make_lists.json"
_SHOWN = 10


@dataclass(frozen=True)
class LeftOut:
    """A clip that is in no list.

    Attributes:
        video: as its file or the annotations call it.
        reason: why.
    """

    video: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """A line of a list.

    Attributes:
        path: relative to the folder of the videos.
        frames: that it has.
        labels: indices of its classes.
        split: whose list it is in; None before it is decided.
        group: see `groups`; its path where it stands alone.
    """

    path: str
    frames: int
    labels: tuple[int, ...]
    split: str | None
    group: str


def write_lists(
    target: Path, names: VideoLists, listed: Sequence[Listed], classes: Classes, *, grouped: bool
) -> None:
    """Write class file, lists and, where there are groups, `groups.txt`.

    Raises:
        ConfigError: clips have several labels, and a name has the separator in it.
    """
    between = names.separator
    ambiguous = [one.path for one in listed if between in one.path]
    if ambiguous and _have_several(listed):
        raise ConfigError(
            f"{ambiguous[0]!r} has a {between!r} in its name, which a list with several labels a "
            "clip cannot tell from the end of the name; rename it"
        )
    write_lines(target / names.class_file, classes.names)
    for split in SPLITS:
        path = target / names.list_file.replace("{split}", split)
        own = [one for one in listed if one.split == split]
        if own:
            rows = [(one.path, one.frames, *one.labels) for one in own]
            write_lines(path, [between.join(map(str, row)) for row in rows])
        else:
            path.unlink(missing_ok=True)
    if grouped:
        write_groups(target / GROUPS_FILE, {one.path: one.group for one in listed})
    else:
        (target / GROUPS_FILE).unlink(missing_ok=True)


def _have_several(listed: Sequence[Listed]) -> bool:
    return any(len(one.labels) > 1 for one in listed)


def show_lists(
    config: MakeListsConfig,
    target: Path,
    listed: Sequence[Listed],
    classes: Classes,
    display: ProgressDisplay,
) -> None:
    """Print a table of the splits, and the command that goes on from here."""
    table = Table()
    table.add_column("split")
    for column in ("clips", "classes", "groups", "frames", "fewest", "most"):
        table.add_column(column, justify="right")
    for split in SPLITS:
        own = [one for one in listed if one.split == split]
        if own:
            frames = [one.frames for one in own]
            labels = {label for one in own for label in one.labels}
            groups = {one.group for one in own}
            values = (len(own), len(labels), len(groups), sum(frames), min(frames), max(frames))
            table.add_row(split, *(f"{value:,}" for value in values))
    display.console.print(table)
    in_train = {label for one in listed if one.split == "train" for label in one.labels}
    missing = [name for label, name in enumerate(classes.names) if label not in in_train]
    if missing:
        more = ", ..." if len(missing) > _SHOWN else ""
        display.say(
            f"warning: {len(missing)} of {len(classes.names)} classes have no training clip: "
            f"{', '.join(missing[:_SHOWN])}{more}"
        )
    options = " 'lists={multi_label: true}'" if _have_several(listed) else ""
    options += "" if config.frame_rate is None else f" frame_rate={config.frame_rate:g}"
    display.say(f"next: adafocus check-data experiment=videos data_dir={target}{options}")


def write_report(
    config: MakeListsConfig,
    target: Path,
    listed: Sequence[Listed],
    classes: Classes,
    left_out: Sequence[LeftOut],
) -> None:
    """Write what was asked for, the clips of each class and split, and what was left out."""
    counts = Counter((one.split, label) for one in listed for label in one.labels)
    splits = {
        split: {name: counts[split, label] for label, name in enumerate(classes.names)}
        for split in SPLITS
        if any(one.split == split for one in listed)
    }
    report = {
        "source": str(Path(config.need("source")).absolute()),
        "frame_rate": config.frame_rate,
        "split": config.split,
        "seed": config.seed,
        "group": config.group,
        "note": classes.note,
        "clips": splits,
        "left_out": [asdict(one) for one in left_out],
    }
    write_json(target / REPORT_FILE, report)
