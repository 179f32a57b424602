"""Benchmark: policies on every video of a split, each judged fairly."""

from __future__ import annotations

import logging
from typing import Any

from stable_baselines3.common.policies import BasePolicy

from adafocus_env.envs import PatchGrid
from adafocus_env.files import write_json
from adafocus_env.networks import AnyRecognizer
from train.checkpoints.load import load_configured, load_fitting_policy
from train.config.sections import RunConfig
from train.evaluation.diagnostics import COLLAPSE_SHARE
from train.evaluation.policies import PolicyEntry, read_entries, recognizer_source
from train.evaluation.report.page import write_page
from train.evaluation.report.player import choose_videos
from train.evaluation.report.text import write_csv, write_report
from train.evaluation.report.video import write_policy_video
from train.evaluation.results import Contest
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)


def run_benchmark(
    config: RunConfig, context: RunContext, display: ProgressDisplay, *, brief: bool = False
) -> dict[str, Any]:
    """Judge all policies; write `benchmark.json`, `.csv`, `.md`, figures, a video, `report.html`.

    Args:
        config: of the command.
        context: its folder, data and device.
        display: progress, and where the tables are printed.
        brief: print the tables of results alone.
    """
    entries = read_entries(config)
    device = str(context.device)
    source = recognizer_source(config, entries)
    recognizer = load_configured(source, "resume", config, device)
    learned = {entry.name: _load(entry, config, recognizer) for entry in entries}
    own = {
        entry.name: load_configured(entry.own, f"runs.{entry.name}", config, device)
        for entry in entries
        if entry.own is not None
    }
    contest = Contest(config, context, display, recognizer, learned, own)
    contest.bench.check(entries)
    shown_videos = choose_videos(len(contest.bench.videos), config.player_videos)
    judged = {entry.name: contest.judge(entry) for entry in entries}
    result = {
        "policies": contest.table(entries, judged),
        "policies_same_classifier": contest.table(
            entries, {name: item.same_classifier() for name, item in judged.items()}
        ),
        "videos": len(contest.bench.videos),
        "split": config.split,
        "seed": config.seed,
        "dataset": config.dataset,
        "reward": config.reward,
        **contest.bench.seen_through(),
        "recognizer_sha256": recognizer.fingerprint(),
        "metric": config.select_by,
        "map_rule": config.map_rule,
        "map_labels": config.map_labels,
        "num_frames": contest.bench.env.num_decisions,
        "patch_size": recognizer.config.patch_size,
        "frame_size": recognizer.config.frame_size,
        "collapse_share": COLLAPSE_SHARE,
    }
    write_json(context.folder / "benchmark.json", result)
    log.info("wrote %s", context.folder / "benchmark.json")
    evaluations = {name: item.seen() for name, item in judged.items()}
    write_csv(evaluations, context.folder / "benchmark.csv")
    write_report(result, context.folder, display.console, brief=brief)
    videos = contest.bench.videos
    write_page(result, evaluations, videos, context.folder, shown_videos)
    shown = {
        entry.name: evaluations[entry.name]
        for entry in entries
        if entry.is_learned or entry.name == "random"
    }
    if shown:
        write_policy_video(context.folder, videos, shown, seed=config.seed)
    return result


def _load(entry: PolicyEntry, config: RunConfig, recognizer: AnyRecognizer) -> list[BasePolicy]:
    return [fitting_policy(path, config, recognizer) for path in entry.checkpoints]


def fitting_policy(path: str, config: RunConfig, recognizer: AnyRecognizer) -> BasePolicy:
    """The policy of a run folder, which must see and act as here.

    Raises:
        ConfigError: there is none.
        CheckpointError: it does not fit the recognizer or the grid.
    """
    sizes = recognizer.config
    grid = PatchGrid(config.grid_size, sizes.frame_size, sizes.patch_size)
    return load_fitting_policy(path, grid, recognizer, trust=config.trust)
