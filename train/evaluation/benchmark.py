"""Benchmark: policies on every video of a split, each judged fairly."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from adafocus_env.files import write_json
from train.config.commands import BenchmarkConfig
from train.evaluation.diagnostics import COLLAPSE_SHARE
from train.evaluation.evaluator import Evaluator
from train.evaluation.policies import read_entries
from train.evaluation.report.page import write_page
from train.evaluation.report.player import choose_videos
from train.evaluation.report.text import write_csv, write_report
from train.evaluation.report.video import write_policy_video
from train.evaluation.results import measure
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)


def run_benchmark(
    config: BenchmarkConfig,
    context: RunContext[BenchmarkConfig],
    display: ProgressDisplay,
    *,
    brief: bool = False,
    other_tasks: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Judge all policies; write `benchmark.json`, `.csv`, `.md`, figures, a video, `report.html`.

    Args:
        config: of the command.
        context: its folder, data and device.
        display: progress, and where the tables are printed.
        brief: print the tables of results alone.
        other_tasks: what `judge_shipped_policy` measured, to be shown beside it.
    """
    entries = read_entries(config)
    evaluator = Evaluator.open(entries, context)
    policies = [evaluator.load(entry) for entry in entries]
    videos = evaluator.videos
    in_player = choose_videos(len(videos), config.player_videos)
    results = measure(policies, evaluator, context, display)
    sizes = evaluator.recognizer.config
    result = {
        "policies": results.rows(),
        "policies_same_classifier": results.rows(same_classifier=True),
        **evaluator.about(),
        "metric": "map" if config.select_by == "map" else "top1",  # what the figures show
        "num_frames": evaluator.env.num_decisions,
        "patch_size": sizes.patch_size,
        "frame_size": sizes.frame_size,
        "collapse_share": COLLAPSE_SHARE,
        "other_tasks": list(other_tasks),
    }
    folder, evaluations = context.folder, results.evaluations()
    write_json(folder / "benchmark.json", result)
    log.info("wrote %s", folder / "benchmark.json")
    write_csv(evaluations, folder / "benchmark.csv")
    write_report(result, folder, display.console, brief=brief)
    write_page(result, evaluations, videos, folder, in_player)
    in_video = {
        entry.name: evaluations[entry.name]
        for entry in entries
        if entry.is_learned or entry.name == "random"
    }
    if in_video:
        write_policy_video(folder, videos, in_video, seed=config.seed)
    return result
