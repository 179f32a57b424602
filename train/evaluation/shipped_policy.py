"""How a policy that comes with the package does in its task: a row to show beside a benchmark."""

from __future__ import annotations

from dataclasses import replace

from adafocus_env.data.catalog import TASKS
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.files import write_json
from train.config.commands import BenchmarkConfig
from train.evaluation.evaluator import Evaluator
from train.evaluation.policies import read_entries
from train.evaluation.results import measure
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

# Of the split: enough to tell a policy with memory (.8) from a guess (.2) in a few seconds.
NUM_VIDEOS = 100
RESULT_FILE = "shipped_policy.json"


def judge_shipped_policy(
    config: BenchmarkConfig, context: RunContext[BenchmarkConfig], display: ProgressDisplay
) -> None:
    """Judge the configured policies on the first videos of a built-in task; write their rows.

    Args:
        config: of a benchmark, `dataset=` a built-in task.
        context: its folder gets `shipped_policy.json`: `title` and `policies`, as rows of
            `benchmark.json`.
        display: progress.
    """
    context.use_videos(config.split, first_videos(config.dataset, config.split, config.num_frames))
    entries = read_entries(config)
    evaluator = Evaluator.open(entries, context)
    results = measure([evaluator.load(entry) for entry in entries], evaluator, context, display)
    title = f"{config.dataset}, {NUM_VIDEOS} videos: the shipped policy remembers, and must"
    write_json(context.folder / RESULT_FILE, {"title": title, "policies": results.rows()})


def first_videos(dataset: str, split: str, num_frames: int) -> GlyphVideos:
    """The first `NUM_VIDEOS` videos of a split of a built-in task."""
    task = TASKS[dataset]
    seed, count = task.splits[split]
    fewer = replace(task, splits={split: (seed, min(NUM_VIDEOS, count))})
    return GlyphVideos(split, num_frames=num_frames, task=fewer, keep=True)
