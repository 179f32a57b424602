"""Classifiers of other runs of stage 1 for the videos that these have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adafocus_env.data import Videos
from adafocus_env.features import Judges
from adafocus_env.files import write_json
from adafocus_env.schema import closed, read_checked
from train.checkpoints.load import load_configured
from train.config.keys import ConfigError
from train.config.sections import RunSection

TRAINED_ON = "trained_on.json"


@closed
@dataclass(frozen=True)
class _TrainedOn:
    videos: tuple[str, ...]


def write_trained_on(folder: Path, videos: Videos) -> None:
    """Note the videos that a classifier has learned from, by name."""
    names = [videos.video_name(index) for index in range(len(videos))]
    write_json(folder / TRAINED_ON, {"videos": names})


def load_judges(runs: Sequence[str], videos: Videos, config: RunSection, device: str) -> Judges:
    """For every video of a split the first of some runs that has not learned from it.

    Args:
        runs: folders of stage 1.
        videos: the split.
        config: of the command, whose sizes they must have.
        device: where their networks go.

    Raises:
        ConfigError: a run does not say what it has learned from, or from videos that are none of
            these; or all runs have learned from one of the videos.
    """
    names = [videos.video_name(index) for index in range(len(videos))]
    seen = [_trained_on(run) for run in runs]
    if not any(name in one for name in names for one in seen):
        raise ConfigError(
            f"cross_fit={list(runs)}: none of them has learned from any of these videos, the first "
            f"of which is {names[0]}; were the videos moved? Name runs of stage 1 on parts of them"
        )
    chosen = []
    for name in names:
        unseen = [number for number, one in enumerate(seen) if name not in one]
        if not unseen:
            raise ConfigError(
                f"cross_fit={list(runs)}: all of them have learned from {name}, so none can judge "
                "it; name runs of stage 1 on parts of the training split"
            )
        chosen.append(unseen[0])
    return Judges([load_configured(run, config, device) for run in runs], chosen)


def _trained_on(run: str) -> frozenset[str]:
    file = Path(run) / TRAINED_ON
    if not file.is_file():
        raise ConfigError(
            f"cross_fit: {run} does not say which videos its classifier has learned from "
            f"({TRAINED_ON} is missing); 'adafocus stage1' writes it"
        )
    return frozenset(read_checked(file, _TrainedOn, "make the run again").videos)
