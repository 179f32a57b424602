"""What the tests of training share: tiny built-in videos on disk, commands in this process."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from dataclasses import dataclass

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from rich.console import Console

from adafocus_env.data.glyphs.drawing import CLASS_NAMES, VIDEO_FRAMES
from adafocus_env.data.glyphs.localization import SPLITS
from train.cli.main import main
from train.cli.resolvers import register_resolvers
from train.config.paths import configs_path
from train.config.sections import read_config
from train.data_tools.make_videos import make_videos
from train.runs.progress import ProgressDisplay

# The seeds of the real splits: videos are drawn in other processes, which know no patched ones.
TINY_SPLITS = {"train": (1001, 20), "val": (1002, 10), "test": (2001, 12)}


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def _as_it_was():
    """Undo what a command changes in its process: arguments, logging, Hydra."""
    argv, environment = sys.argv, dict(os.environ)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        GlobalHydra.instance().clear()


def _run(arguments):
    out, err = io.StringIO(), io.StringIO()
    with _as_it_was(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as stop:  # how Hydra reports its own errors
            code = stop.code if isinstance(stop.code, int) else 1
    return Finished(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run_command():
    """Runs `adafocus ARGUMENTS` in this process."""
    return lambda *arguments: _run([str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def quiet():
    """Makes a progress display that draws nowhere."""
    return lambda: ProgressDisplay(Console(file=io.StringIO()))


@pytest.fixture(scope="session")
def shrink_splits():
    """Lets the built-in splits have 20, 10 and 12 videos until the patch is undone."""

    def shrink(patch):
        for split, entry in TINY_SPLITS.items():
            patch.setitem(SPLITS, split, entry)

    return shrink


@pytest.fixture(scope="session")
def tiny_videos(tmp_path_factory, quiet, shrink_splits):
    """Folder of the tiny splits, written as `adafocus make-videos` does, by a worker process."""
    folder = tmp_path_factory.mktemp("tiny") / "glyphs"
    with pytest.MonkeyPatch.context() as patch:
        shrink_splits(patch)
        make_videos(folder, quiet(), workers=1)
    return folder


@pytest.fixture(scope="session")
def actnet_folder(tiny_videos, run_command, tmp_path_factory):
    """Built-in videos in the layout of the published ActivityNet folder; do not write to it.

    12 videos for training, which show all 10 classes, and 6 for validation; 16 frames each, in
    `videos/` and, extracted with height=none, in `frames/`. Every third one has the next class as
    a second label. For `dataset=actnet data_dir=FOLDER media=frames|videos`.
    """
    folder = tmp_path_factory.mktemp("actnet")
    (folder / "videos").mkdir()
    shutil.copy(tiny_videos / "classes.txt", folder / "classInd.txt")
    for split, count in (("train", 12), ("val", 6)):
        lines = []
        for index in range(count):
            name, label = f"v_{split}_{index:03d}", index % len(CLASS_NAMES)
            shutil.copy(
                tiny_videos / "videos" / split / f"{index:05d}.mp4", folder / f"videos/{name}.mp4"
            )
            second = f",{label + 1}" if index % 3 == 0 and label < 9 else ""
            lines.append(f"{name},{VIDEO_FRAMES},{label}{second}\n")
        (folder / f"actnet_{split}_split.txt").write_text("".join(lines))
    done = run_command(
        "extract-frames",
        *(f"source={folder / 'videos'}", f"target={folder / 'frames'}", "height=none"),
        f"output_dir={tmp_path_factory.mktemp('extract')}",
    )
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_videos):
    """Overrides that make any command quick."""
    sizes = "num_frames=2 hidden_dim=16 action_dim=16 epochs=1 batch_size=10 eval_freq=1 draws=2"
    policy = ["++algo.policy_kwargs.hidden_dim=16", "++algo.policy_kwargs.channels=4"]
    return [f"data_dir={tiny_videos}", "device=cpu", *sizes.split(), *policy]


@pytest.fixture(scope="session")
def compose_config():
    """Composes `configs/` for a command with overrides, as the command line does."""
    register_resolvers()

    def make(command, *overrides):
        with initialize_config_dir(str(configs_path()), version_base="1.3"):
            return compose("config", overrides=[f"command={command}", *overrides])

    return make


@pytest.fixture(scope="session")
def make_config(compose_config):
    """Composes and reads a command's configuration; overrides as on the command line."""

    def make(command, *overrides):
        return read_config(compose_config(command, "output_dir=unused", *overrides))

    return make


@pytest.fixture(scope="session")
def policy_row():
    """Makes one policy's entry in `benchmark.json` from made-up numbers; takes others for them."""

    def make(name, **changes):
        difference = {"mean": 0.466, "ci95": [0.43, 0.503]}
        values = {
            "name": name,
            "reward_mean": 0.0601,
            "reward_ci95": [0.0552, 0.0649],
            "return_mean": 0.481,
            "reward_per_step": [0.1, 0.02],
            "top1": 0.978,
            "top1_ci95": [0.964, 0.99],
            "top1_per_step": [0.7, 0.978],
            "map": 0.991,
            "map_per_step": [0.8, 0.991],
            "on_target": 0.72,
            "gmacs_per_video": 0.134,
            "gmacs_executed_per_video": 0.2,
            "gmacs_per_step": [0.067, 0.067],
            "agent": name,
            "family": name,
            "knows_label": False,
            "blind_frames": None,
            "blind_references": {},
            "skip_cost": None,
            "kept_share": 1.0,
            "kept_per_step": [1.0, 1.0],
            "confidence_mean": 0.9,
            "videos_per_second": 100.0,
            "classifier": "own",
            "learned": False,
            "differences": {"random": {"return": difference}},
            "regret": {"mean": 0.12, "ci95": [0.1, 0.14]},
            "diagnostics": {
                "action_entropy_bits": 3.9,
                "max_entropy_bits": 4.0,
                "location_histogram": [[1 / 16] * 4] * 4,
                "movement_pixels": 9.9,
                "top_position": 5,
                "top_position_share": 0.13,
                "same_place_share": 0.2,
                "collapsed": False,
                "routine": False,
            },
            "over_seeds": None,
            "train": None,
            "conditional_exit": None,
        }
        return {**values, **changes}

    return make


@pytest.fixture(scope="session")
def benchmark_result(policy_row):
    """Makes a `benchmark.json` of some policies; other entries as named."""

    def make(*policies, **entries):
        values = {
            "videos": 500,
            "split": "test",
            "seed": 3,
            "recognizer_sha256": "ab" * 32,
            "dataset": "glyphs",
            "reward": "random",
            "metric": "top1",
            "num_frames": 2,
            "frame_size": 40,
            "patch_size": 12,
            "map_rule": "standard",
            "map_labels": "all",
        }
        return {**values, "policies": list(policies) or [policy_row("random")], **entries}

    return make


@pytest.fixture(scope="session")
def pipeline(run_command, tiny, tmp_path_factory):
    """All stages and the benchmark on the tiny videos: part -> its run folder."""
    root = tmp_path_factory.mktemp("pipeline")
    folders = {}

    def run(part, command, *overrides):
        folders[part] = root / part
        done = run_command(command, *tiny, f"output_dir={folders[part]}", *overrides)
        assert done.code == 0, done.err
        (root / f"{part}.out").write_text(done.out)
        return str(folders[part])

    glancer = run("glancer", "stage0", "pretrain_glancer=true")
    focuser = run("focuser", "stage0", "pretrain_glancer=false")
    stage1 = run(
        "stage1", "stage1", f"pretrained_glancer={glancer}", f"pretrained_focuser={focuser}"
    )
    stage2 = run("stage2", "stage2", f"resume={stage1}", "epochs=2")
    runs = {
        name: run(f"stage3_{name}", "stage3", f"resume={stage2}", f"policy={policy}")
        for name, policy in {"random": "random", "center": "center", "learned": stage2}.items()
    }
    given = ", ".join(f"{name}: {folder}" for name, folder in runs.items())
    run("benchmark", "benchmark", f"resume={stage2}", f"runs={{{given}}}")
    run("evaluate", "evaluate", f"resume={runs['learned']}")
    return folders
