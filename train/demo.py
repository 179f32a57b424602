"""The demo: all four stages and the benchmark on the built-in videos."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from adafocus_env.envs import shipped_recognizer
from adafocus_env.files import read_json
from adafocus_env.networks import Recognizer
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
from train.data_tools.make_bank import run_bank
from train.data_tools.make_videos import make_videos
from train.evaluation.benchmark import run_benchmark
from train.evaluation.shipped_policy import RESULT_FILE, judge_shipped_policy
from train.pipeline.parts import C, Part, PartsRunner, Stage, Work
from train.runs.progress import ProgressDisplay
from train.stages.stage0_backbones import run_stage0
from train.stages.stage1_random_patches import run_stage1
from train.stages.stage2_policy import run_stage2
from train.stages.stage3_classifier import run_stage3

_BACKBONES = {"focuser": {"pretrain_glancer": False}, "glancer": {"pretrain_glancer": True}}


class Demo(PartsRunner):
    """The parts of the demo, each in its own folder below `outputs/demo`.

    Args:
        composed: the configuration; the parts read it as their own command would.
        display: one progress display for all parts.
    """

    def __init__(self, composed: Composed, display: ProgressDisplay):
        super().__init__(display)
        self.config = composed.read(DemoConfig, "demo")
        self._composed = composed

    def part(
        self, folder: str, command: str, kind: type[C], stage: Stage[C], **values: Any
    ) -> Part[C]:
        """A stage in `outputs/demo/FOLDER`, with what the demo was told and other values."""
        config = self._composed.read(kind, command, **values)
        return Part(folder or command, config, self.config.output_dir / folder, stage)

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


def run_demo(composed: Composed, display: ProgressDisplay) -> None:
    """Videos, stages 0 to 3 for the learned policy and both baselines, benchmark, summary.

    Once the focuser has learned, all features come from a bank: the frozen networks see every frame
    and every patch once. The first to use it is a new classifier for stage 1. The one that learned
    beside the focuser has met each video at few places, is never quite sure of what it sees, and
    less so of a second look at it than of chance elsewhere; a policy that earns what it gains then
    learns to look away.
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
    folders = parts.run_side_by_side(*backbones)
    pretrained = {
        f"pretrained_{name}": folder for name, folder in zip(_BACKBONES, folders, strict=True)
    }
    focused = parts.run(
        parts.part("stage1_focuser", "stage1", Stage1Config, run_stage1, **pretrained, **data)
    )
    target = config.output_dir / "bank"
    banks = []
    for split in dict.fromkeys(("train", parts.judged_split, "val")):
        values = {"resume": focused, "split": split, "target": str(target), **data}
        banks.append(parts.part(f"bank_{split}", "bank", BankConfig, run_bank, **values))
    *_, memory = parts.run_side_by_side(*banks, parts.memory_part())
    data["features"] = f"bank:{target}"
    pretrained = {f"pretrained_{name}": focused for name in _BACKBONES}
    stage1 = parts.run(
        parts.part("stage1", "stage1", Stage1Config, run_stage1, **pretrained, **data)
    )
    if config.ship:
        Recognizer.load(Path(stage1) / "recognizer").save(shipped_recognizer())
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
    display.console.print(parts.table())
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
