"""The demo: all four stages and the benchmark on the built-in videos, in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from adafocus_env.data import Videos
from adafocus_env.envs import shipped_recognizer
from adafocus_env.files import read_json
from adafocus_env.networks import Recognizer
from agents.flops import RunningMultiplyAdds
from train.config.commands import (
    BankConfig,
    BenchmarkConfig,
    DemoConfig,
    Stage0Config,
    Stage1Config,
    Stage2Config,
    Stage3Config,
)
from train.config.compose import Composed, compose_command
from train.config.sections import RunSection
from train.data_tools.make_bank import run_bank
from train.data_tools.make_videos import make_videos
from train.evaluation.benchmark import run_benchmark
from train.evaluation.shipped_policy import RESULT_FILE, judge_shipped_policy
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay
from train.stages.stage0_backbones import run_stage0
from train.stages.stage1_random_patches import run_stage1
from train.stages.stage2_policy import run_stage2
from train.stages.stage3_classifier import run_stage3

C = TypeVar("C", bound=RunSection)


class Demo:
    """The parts of the demo, each in its own folder below `outputs/demo`.

    Args:
        composed: the configuration; the parts read it as their own command would.
        display: one progress display for all parts.
    """

    def __init__(self, composed: Composed, display: ProgressDisplay):
        self.config = composed.read(DemoConfig, "demo")
        self._composed = composed
        self._display = display
        self._videos: dict[tuple[str, bool, int], Videos] = {}
        self._began = time.monotonic()
        self._work: list[tuple[str, float, float]] = []  # part, seconds, multiply-adds

    def run(
        self,
        part: str,
        command: str,
        kind: type[C],
        stage: Callable[[C, RunContext[C], ProgressDisplay], Any],
        **values: Any,
    ) -> str:
        """Run one stage in `outputs/demo/PART`; returns that folder for the next stages."""
        config = self._composed.read(kind, command, **values)
        context = RunContext(config, self.config.output_dir / part, self._videos)
        return self._run(part or command, config, context, stage)

    @property
    def judged_split(self) -> str:
        """The videos that the benchmark is about."""
        return self._composed.read(BenchmarkConfig, "benchmark").split

    def judge_memory(self) -> str:
        """Judge the shipped policy of `glyphs_memory`, whatever the demo was told to do else."""
        told = self._composed.read(BenchmarkConfig, "benchmark")
        composed = compose_command("benchmark", ["experiment=glyphs_memory"])
        judged = composed.read(
            BenchmarkConfig,
            "benchmark",
            resume="shipped",
            policies=["random", "learned"],
            output_dir=str(self.config.output_dir / "memory"),
            device=told.device,
            seed=told.seed,
            draws=told.draws,
        )
        context = RunContext(judged, judged.output_dir)
        return self._run("memory", judged, context, judge_shipped_policy)

    def _run(
        self,
        title: str,
        config: C,
        context: RunContext[C],
        stage: Callable[[C, RunContext[C], ProgressDisplay], Any],
    ) -> str:
        try:
            with self.measured(title):
                stage(config, context, self._display)
        finally:
            context.close()
        return str(context.folder)

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Note the time that a part takes, and its multiply-adds."""
        began, counter = time.monotonic(), RunningMultiplyAdds()
        with counter:
            yield
        self._work.append((part, time.monotonic() - began, counter.total))

    def work_table(self) -> Table:
        """What every part took. The multiply-adds are comparable between machines."""
        table = Table(box=None, title="What it took", title_justify="left")
        table.add_column("part")
        for name in ("seconds", "10^9 multiply-adds", "10^9 a second"):
            table.add_column(name, justify="right")
        everything = "all", time.monotonic() - self._began, sum(work for *_, work in self._work)
        for part, seconds, work in (*self._work, everything):
            rate = f"{work / 1e9 / seconds:.1f}" if work else ""
            table.add_row(part, f"{seconds:.1f}", f"{work / 1e9:.1f}" if work else "", rate)
        return table


def run_demo(composed: Composed, display: ProgressDisplay) -> None:
    """Videos, stages 0 to 3 for the learned policy and both baselines, benchmark, summary.

    From stage 2 on all features come from a bank: the frozen networks see every frame and every
    patch once.
    """
    parts = Demo(composed, display)
    config = parts.config
    data_dir = config.output_dir / "videos" if config.data_dir is None else Path(config.data_dir)
    with parts.measured("videos"):
        make_videos(data_dir, display, workers=os.cpu_count() or 1)
    data = {"data_dir": str(data_dir)}
    pretrained = {
        f"pretrained_{name}": parts.run(
            f"stage0_{name}",
            "stage0",
            Stage0Config,
            run_stage0,
            pretrain_glancer=name == "glancer",
            **data,
        )
        for name in ("glancer", "focuser")
    }
    stage1 = parts.run("stage1", "stage1", Stage1Config, run_stage1, **pretrained, **data)
    if config.ship:
        Recognizer.load(Path(stage1) / "recognizer").save(shipped_recognizer())
    bank = config.output_dir / "bank"
    for split in dict.fromkeys(("train", "val", parts.judged_split)):
        values = {"resume": stage1, "split": split, "target": str(bank), **data}
        parts.run(f"bank_{split}", "bank", BankConfig, run_bank, **values)
    data["features"] = f"bank:{bank}"
    stage2 = parts.run("stage2", "stage2", Stage2Config, run_stage2, resume=stage1, **data)
    looks = {"random": "random", "center": "center", "learned": stage2}
    runs = {
        name: parts.run(
            f"stage3_{name}",
            "stage3",
            Stage3Config,
            run_stage3,
            resume=stage2,
            policy=policy,
            **data,
        )
        for name, policy in looks.items()
    }
    memory = parts.judge_memory()
    other_tasks = [read_json(Path(memory) / RESULT_FILE)]
    judged = {"resume": stage2, "policy": stage2, "runs": runs, **data}
    benchmark = partial(run_benchmark, brief=True, other_tasks=other_tasks)
    parts.run("", "benchmark", BenchmarkConfig, benchmark, **judged)
    display.console.print(parts.work_table())
    _say_what_to_look_at(config.output_dir, display)


def _say_what_to_look_at(folder: Path, display: ProgressDisplay) -> None:
    looks = {
        "report.html": "all of it in one page, with a player: open it in a browser",
        "policies.mp4": "random and learned patches side by side",
        "policies.png": "one of these videos at a glance",
        "accuracy_per_step.png": "accuracy after each frame",
        "benchmark.md": "the tables above",
        "benchmark.json": "all numbers",
        "stage2/policy": "the learned policy",
        "stage3_learned/recognizer": "the recognizer that goes with it",
    }
    display.list_files(f"\nWhat to look at in {folder}:", looks)
    display.say(f"Training curves: tensorboard --logdir {folder}")
    display.say("README.md shows how to go on with")
    display.say('gymnasium.make("AdaFocus/PatchLocalization-v0")')
