"""`adafocus record`: chosen videos with the looks of some policies side by side, as mp4 or GIF."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adafocus_env.data import Videos
from adafocus_env.data.media.video_files import write_mp4
from adafocus_env.files import atomic_path
from adafocus_env.networks import AnyRecognizer
from agents.baselines.registry import make_baseline
from agents.evaluation import Evaluation, evaluate_agent, replay_actions
from train.checkpoints.load import check_sizes, load_recognizer
from train.config.sections import ConfigError, RunConfig
from train.evaluation.benchmark import fitting_policy
from train.evaluation.evaluator import Evaluator
from train.evaluation.policies import PolicyEntry, read_entries, recognizer_source
from train.evaluation.report.video import Image, gif_bytes, halved, side_by_side
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)

_DEFAULT_VIDEOS = 4
_COLUMNS = 4  # policies next to each other; more go below
_ROWS_AT_ONCE = 64


def run_record(config: RunConfig, context: RunContext, display: ProgressDisplay) -> None:
    """Write the file that `output=` names, else `record.mp4` of the run folder.

    Raises:
        ConfigError: an output that is neither mp4 nor GIF, or a video that the split has not.
    """
    target = output_file(config.output, context.folder)
    entries = read_entries(config)
    source = recognizer_source(config, entries)
    recognizer = load_recognizer(source, "resume", str(context.device))
    check_sizes(recognizer, config)
    bench = Evaluator(recognizer, context, config.split)
    bench.check(entries)
    chosen = choose(config.videos, len(bench.videos))
    shown: dict[str, Evaluation] = {}
    with display.part(f"record: {len(chosen)} videos", len(entries)) as progress:
        for entry in entries:
            shown.update(_looks(entry, config, bench, chosen))
            progress.advance()
    write_recording(target, bench.videos, chosen, shown, seed=config.seed, fps=config.fps)
    display.console.print(f"{target}: videos {chosen} of {config.split}, {', '.join(shown)}")


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
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as part:
        if target.suffix.lower() == ".gif":
            part.write_bytes(gif_bytes([halved(picture) for picture in pictures], fps))
        else:
            named = part.with_suffix(".mp4")  # OpenCV tells the format by the name
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


def _looks(
    entry: PolicyEntry, config: RunConfig, bench: Evaluator, chosen: Sequence[int]
) -> dict[str, Evaluation]:
    """One panel's evaluation for each checkpoint of a policy, seen by its own classifier if any."""
    rows = min(len(chosen), _ROWS_AT_ONCE)
    env = bench.make_env(bench.recognizer, num_envs=rows)
    own: AnyRecognizer | None = None
    if entry.own is not None:
        own = load_recognizer(entry.own, f"runs.{entry.name}", str(bench.recognizer.device))
        check_sizes(own, config)
    panels = {}
    for number, path in enumerate(entry.checkpoints or (None,), start=1):
        if path is None:
            agent = make_baseline(entry.name, env.core, bench.recognizer)
        else:
            agent = fitting_policy(path, config, bench.recognizer)
        evaluation = evaluate_agent(env, agent, seed=config.seed, videos=chosen)
        if own is not None:
            own_env = bench.make_env(own, num_envs=rows)
            replayed = replay_actions(own_env, evaluation, seed=config.seed)
            evaluation = replace(replayed, rewards=evaluation.rewards)
        name = entry.name if number == 1 else f"{entry.name} ({number})"
        panels[name] = evaluation
    return panels
