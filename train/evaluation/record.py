"""`adafocus record`: chosen videos with the looks of some policies side by side, as mp4 or GIF."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adafocus_env.data import Videos
from adafocus_env.data.media.video_files import write_mp4
from adafocus_env.files import atomic_path
from adafocus_env.folders import make_folder
from agents.evaluation import Evaluation
from train.config.commands import RecordConfig
from train.config.keys import ConfigError
from train.evaluation.evaluator import Evaluator
from train.evaluation.judged_policy import PolicyResult
from train.evaluation.policies import read_entries
from train.evaluation.report.video import Image, gif_bytes, halved, side_by_side
from train.evaluation.statistics import each_draw
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)

_DEFAULT_VIDEOS = 4
_COLUMNS = 4  # policies next to each other; more go below


def run_record(
    config: RecordConfig, context: RunContext[RecordConfig], display: ProgressDisplay
) -> None:
    """Write the file that `output=` names, else `record.mp4` of the run folder.

    Policies look where they look in a benchmark; one that focuses on as many frames as another does
    so in these videos.

    Raises:
        ConfigError: an output that is neither mp4 nor GIF, or a video that the split has not.
    """
    target = output_file(config.output, context.folder)
    entries = read_entries(config)
    evaluator = Evaluator.open(entries, context)
    policies = [evaluator.load(entry) for entry in entries]
    chosen = choose(config.videos, len(evaluator.videos))
    results: dict[str, PolicyResult] = {}
    panels: dict[str, Evaluation] = {}
    for policy in policies:
        name = policy.entry.name
        results[name] = evaluator.evaluate(
            policy, display, before=results, videos=chosen, title="record"
        )
        for number, seen in enumerate(each_draw(results[name].seen()), start=1):
            panels[name if number == 1 else f"{name} ({number})"] = seen
    write_recording(target, evaluator.videos, chosen, panels, seed=config.seed, fps=config.fps)
    display.say(f"{target}: videos {chosen} of {config.split}, {', '.join(panels)}")


def write_recording(
    target: Path,
    videos: Videos,
    chosen: Sequence[int],
    shown: dict[str, Evaluation],
    *,
    seed: int,
    fps: float,
) -> None:
    """Draw the videos one after the other; GIFs are half as wide and high.

    Args:
        target: ends in `.mp4` or `.gif`; its folder is made if missing.
        videos: the evaluated split.
        chosen: indices.
        shown: evaluations by name.
        seed: of the evaluations.
        fps: frames a second.

    Raises:
        OSError: the file cannot be written.
    """
    pictures: list[Image] = []
    for index in chosen:
        pictures += side_by_side(videos, index, shown, seed=seed, columns=_COLUMNS)
    write_pictures(target, pictures, fps=fps)


def write_pictures(target: Path, pictures: Sequence[Image], *, fps: float) -> None:
    """Write an `.mp4`, or a `.gif` half as wide and high.

    Raises:
        OSError: the file cannot be written.
    """
    make_folder(target.parent)
    with atomic_path(target) as part:
        if target.suffix.lower() == ".gif":
            part.write_bytes(gif_bytes([halved(picture) for picture in pictures], fps))
        else:
            named = Path(f"{part}.mp4")  # OpenCV tells the format by the name
            try:
                write_mp4(named, pictures, fps)
                named.replace(part)
            finally:
                named.unlink(missing_ok=True)
    log.info("wrote %s", target)


def output_file(output: str | None, folder: Path) -> Path:
    """Where to write.

    Raises:
        ConfigError: the name ends in neither `.mp4` nor `.gif`, or is a folder.
    """
    target = folder / "record.mp4" if output is None else Path(output)
    if target.suffix.lower() not in (".mp4", ".gif") or target.is_dir():
        raise ConfigError(f"output={output} must be the name of a file that ends in .mp4 or .gif")
    return target


def choose(videos: Sequence[int] | int | None, count: int) -> list[int]:
    """The named videos, or so many of them, spread evenly over the split.

    Raises:
        ConfigError: one is not in the split, or there are none.
    """
    if isinstance(videos, Sequence):
        wrong = [index for index in videos if not 0 <= index < count]
        if wrong or not videos:
            raise ConfigError(
                f"videos={list(videos)}: name some of 0..{count - 1}, the split's videos"
            )
        return list(dict.fromkeys(videos))
    wanted = _DEFAULT_VIDEOS if videos is None else videos
    if wanted < 1:
        raise ConfigError(f"videos={videos} must be at least 1, or a list such as [0,3]")
    spread = np.linspace(0, count - 1, min(wanted, count)).round()
    return [int(index) for index in spread]
