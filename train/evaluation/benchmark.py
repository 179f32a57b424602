"""Benchmark: policies on every video of a split, each judged fairly."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
from train.evaluation.results import Results, measure
from train.evaluation.verdict import verdict
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
    in_player = choose_videos(len(evaluator.videos), config.player_videos)
    results = measure(policies, evaluator, context, display)
    return write_results(
        results, context, display, in_player=in_player, brief=brief, other_tasks=other_tasks
    )


def write_results(
    results: Results,
    context: RunContext[BenchmarkConfig],
    display: ProgressDisplay,
    *,
    in_player: Sequence[int],
    brief: bool = False,
    other_tasks: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write and print what was measured.

    Args:
        results: of `measure`, or joined from folds.
        context: of the benchmark.
        display: where the tables are printed.
        in_player: videos in the report's player.
        brief: as of `run_benchmark`, like `other_tasks`.
        other_tasks: likewise.
        about: entries of `benchmark.json` that go before the evaluator's.
    """
    config, evaluator = context.config, results.evaluator
    videos, entries = evaluator.videos, [item.entry for item in results.measured.values()]
    sizes, rows = evaluator.recognizer.config, results.rows()
    any_own = any(item.result.has_own for item in results.measured.values())
    same = results.rows(same_classifier=True) if any_own else rows
    result = {
        "verdict": verdict(same),
        "policies": rows,
        "policies_same_classifier": same,
        **evaluator.about(),
        **about,
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
