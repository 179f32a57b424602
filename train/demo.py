"""The demo: all four stages and the benchmark on the built-in videos.

Small networks leave half of two cores idle: threads wait for each other after every layer. So parts
that need nothing of each other run side by side, in processes of their own.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from adafocus_env.data import Videos
from adafocus_env.envs import shipped_recognizer
from adafocus_env.envs.factory import choose_device
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
from train.data_tools.worker_pool import WorkerPool
from train.evaluation.benchmark import run_benchmark
from train.evaluation.shipped_policy import RESULT_FILE, judge_shipped_policy
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay
from train.stages.stage0_backbones import run_stage0
from train.stages.stage1_random_patches import run_stage1
from train.stages.stage2_policy import run_stage2
from train.stages.stage3_classifier import run_stage3

C = TypeVar("C", bound=RunSection)
Stage = Callable[[C, RunContext[C], ProgressDisplay], Any]
_OpenVideos = dict[tuple[str, bool, int], Videos]


@dataclass(frozen=True, eq=False)
class Part(Generic[C]):
    """A run of one stage, ready to start here or in another process.

    Attributes:
        name: in the table of the demo's work.
        config: of the stage.
        folder: its run folder.
        stage: a function of a module.
    """

    name: str
    config: C
    folder: Path
    stage: Stage[C]

    def run(self, videos: _OpenVideos | None, display: ProgressDisplay) -> Work:
        """Run it; says what it took."""
        context = RunContext(self.config, self.folder, videos)
        began, counter = time.monotonic(), RunningMultiplyAdds()
        try:
            with counter:
                self.stage(self.config, context, display)
        finally:
            context.close()
        return Work(self.name, time.monotonic() - began, counter.total)


@dataclass(frozen=True)
class Work:
    """What a part took: wall-clock seconds, and multiply-adds."""

    name: str
    seconds: float
    multiply_adds: float


_SIDE_BY_SIDE = 2  # parts at a time
_BACKBONES = {"focuser": {"pretrain_glancer": False}, "glancer": {"pretrain_glancer": True}}
_LINE = 1000  # a worker's lines are not broken

_videos: _OpenVideos = {}  # of a worker, for the next part that it runs


def _run_in_worker(part: Part[Any]) -> tuple[Work, str]:
    """Run a part in a worker; what it would have printed is handed back."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // _SIDE_BY_SIDE))
    printed = io.StringIO()
    work = part.run(_videos, ProgressDisplay(Console(file=printed, width=_LINE)))
    lines = (line.rstrip() for line in printed.getvalue().splitlines())
    return work, "\n".join(line for line in lines if not line.startswith(" "))


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
        self._videos: _OpenVideos = {}
        self._began = time.monotonic()
        self.work: list[Work] = []

    def part(
        self, folder: str, command: str, kind: type[C], stage: Stage[C], **values: Any
    ) -> Part[C]:
        """A stage in `outputs/demo/FOLDER`, with what the demo was told and other values."""
        config = self._composed.read(kind, command, **values)
        return Part(folder or command, config, self.config.output_dir / folder, stage)

    def run(self, part: Part[C]) -> str:
        """Run a part here; returns its folder for the next stages."""
        self.work.append(part.run(self._videos, self._display))
        return str(part.folder)

    def run_side_by_side(self, title: str, *parts: Part[Any]) -> list[str]:
        """Run parts that need nothing of each other, two at a time where there are two cores."""
        on_cpu = choose_device(parts[0].config.device).type == "cpu"
        if not on_cpu or (os.cpu_count() or 1) < _SIDE_BY_SIDE:
            return [self.run(part) for part in parts]
        with (
            WorkerPool(_SIDE_BY_SIDE) as pool,
            self._display.part(f"{title}, side by side", len(parts)) as progress,
        ):
            for _, (work, printed) in pool.run(_run_in_worker, parts):
                self.work.append(work)
                self._display.say(printed)
                progress.advance()
        return [str(part.folder) for part in parts]

    @property
    def judged_split(self) -> str:
        """The videos that the benchmark is about."""
        return self._composed.read(BenchmarkConfig, "benchmark").split

    def memory_part(self) -> Part[BenchmarkConfig]:
        """Judge the shipped policy of `glyphs_memory`, whatever the demo was told to do else."""
        told = self._composed.read(BenchmarkConfig, "benchmark")
        composed = compose_command("benchmark", ["experiment=glyphs_memory"])
        folder = self.config.output_dir / "memory"
        judged = composed.read(
            BenchmarkConfig,
            "benchmark",
            resume="shipped",
            policies=["random", "learned"],
            output_dir=str(folder),
            device=told.device,
            seed=told.seed,
            draws=told.draws,
        )
        return Part("memory", judged, folder, judge_shipped_policy)

    def work_table(self) -> Table:
        """What every part took. The multiply-adds are comparable between machines."""
        table = Table(box=None, title="What it took", title_justify="left")
        table.add_column("part")
        for name in ("seconds", "10^9 multiply-adds", "10^9 a second"):
            table.add_column(name, justify="right")
        total = sum(work.multiply_adds for work in self.work)
        for work in (*self.work, Work("all", time.monotonic() - self._began, total)):
            billions = work.multiply_adds / 1e9
            counted = [f"{billions:.1f}", f"{billions / work.seconds:.1f}"] if billions else []
            table.add_row(work.name, f"{work.seconds:.1f}", *counted)
        return table


def run_demo(composed: Composed, display: ProgressDisplay) -> None:
    """Videos, stages 0 to 3 for the learned policy and both baselines, benchmark, summary.

    From stage 2 on all features come from a bank: the frozen networks see every frame and every
    patch once.
    """
    parts = Demo(composed, display)
    config = parts.config
    data_dir = config.output_dir / "videos" if config.data_dir is None else Path(config.data_dir)
    began = time.monotonic()
    make_videos(data_dir, display, workers=os.cpu_count() or 1)
    parts.work.append(Work("videos", time.monotonic() - began, 0.0))
    data = {"data_dir": str(data_dir)}
    backbones = [
        parts.part(f"stage0_{name}", "stage0", Stage0Config, run_stage0, **values, **data)
        for name, values in _BACKBONES.items()
    ]
    folders = parts.run_side_by_side("stage 0", *backbones)
    pretrained = {
        f"pretrained_{name}": folder for name, folder in zip(_BACKBONES, folders, strict=True)
    }
    stage1 = parts.run(
        parts.part("stage1", "stage1", Stage1Config, run_stage1, **pretrained, **data)
    )
    if config.ship:
        Recognizer.load(Path(stage1) / "recognizer").save(shipped_recognizer())
    target = config.output_dir / "bank"
    banks = []
    for split in dict.fromkeys(("train", parts.judged_split, "val")):
        values = {"resume": stage1, "split": split, "target": str(target), **data}
        banks.append(parts.part(f"bank_{split}", "bank", BankConfig, run_bank, **values))
    *_, memory = parts.run_side_by_side("banks", *banks, parts.memory_part())
    data["features"] = f"bank:{target}"
    stage2 = parts.run(
        parts.part("stage2", "stage2", Stage2Config, run_stage2, resume=stage1, **data)
    )
    looks = {"random": "random", "center": "center", "learned": stage2}
    classifiers = []
    for name, policy in looks.items():
        values = {"resume": stage2, "policy": policy, **data}
        classifiers.append(
            parts.part(f"stage3_{name}", "stage3", Stage3Config, run_stage3, **values)
        )
    runs = dict(zip(looks, map(parts.run, classifiers), strict=True))
    other_tasks = [read_json(Path(memory) / RESULT_FILE)]
    judged = {"resume": stage2, "policy": stage2, "runs": runs, **data}
    benchmark = partial(run_benchmark, brief=True, other_tasks=other_tasks)
    parts.run(parts.part("", "benchmark", BenchmarkConfig, benchmark, **judged))
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
