"""What each command does with its configuration: read it once, make a context, call the stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from train.config.sections import RunConfig, read_config
from train.data_tools.make_bank import run_bank
from train.data_tools.make_videos import make_videos
from train.evaluation.benchmark import run_benchmark
from train.evaluation.evaluate import run_evaluate
from train.evaluation.record import run_record
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay
from train.stages.stage0_backbones import run_stage0
from train.stages.stage1_random_patches import run_stage1
from train.stages.stage2_policy import run_stage2
from train.stages.stage3_classifier import run_stage3

DEFAULT_VIDEOS = Path("outputs/glyphs")


def stage0(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Stage 0."""
    _with_context(cfg, display, run_stage0)


def stage1(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Stage 1."""
    _with_context(cfg, display, run_stage1)


def stage2(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Stage 2."""
    _with_context(cfg, display, run_stage2)


def stage3(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Stage 3."""
    _with_context(cfg, display, run_stage3)


def bank(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Build a feature bank."""
    _with_context(cfg, display, run_bank)


def evaluate(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Evaluate."""
    _with_context(cfg, display, run_evaluate)


def benchmark(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Benchmark."""
    _with_context(cfg, display, run_benchmark)


def record(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Record."""
    _with_context(cfg, display, run_record)


def tune(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Search an algorithm's parameters."""
    from train.tune.search import run_tune

    run_tune(cfg, display, list(HydraConfig.get().overrides.task))
    display.console.print(f"results are in {cfg.output_dir}")


def make_videos_command(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Make the built-in videos."""
    config = read_config(cfg)
    folder = DEFAULT_VIDEOS if config.data_dir is None else Path(config.data_dir)
    make_videos(folder, display, workers=config.num_workers)
    display.console.print(f"videos, lists and class file are in {folder}")


def extract_frames_command(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Write the frames of videos as JPEG folders."""
    from train.data_tools.extract_frames import run_extract_frames

    run_extract_frames(read_config(cfg), display)


def check_data_command(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Look for what would break training."""
    from train.data_tools.check_data import run_check_data

    run_check_data(read_config(cfg), display)


def convert_command(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Read or write a published checkpoint."""
    from train.checkpoints.convert import run_convert

    run_convert(read_config(cfg), display)


def flops_command(cfg: DictConfig, display: ProgressDisplay) -> None:
    """Multiply-adds per video."""
    from train.evaluation.flops import run_flops

    run_flops(read_config(cfg), display)


def _with_context(
    cfg: DictConfig,
    display: ProgressDisplay,
    run: Callable[[RunConfig, RunContext, ProgressDisplay], object],
) -> None:
    config = read_config(cfg)
    context = RunContext(config, config.output_dir)
    try:
        run(config, context, display)
        context.processes.close()
    finally:
        context.close()
    display.console.print(f"results are in {config.output_dir}")
