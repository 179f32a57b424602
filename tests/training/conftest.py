"""What the tests of training share: tiny built-in videos on disk, commands in this process."""

import contextlib
import io
import itertools
import json
import logging
import os
import runpy
import shutil
import subprocess
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hydra.core.global_hydra import GlobalHydra
from rich.console import Console
from safetensors.torch import load_file

from adafocus_env.data.glyphs.drawing import CLASS_NAMES, VIDEO_FRAMES
from adafocus_env.data.glyphs.localization import SPLITS
from adafocus_env.networks import Focuser, Glancer
from agents.policies.gru_policy import GruActorCriticPolicy
from train.checkpoints.backbones import save_backbone
from train.cli.main import main
from train.config.commands import COMMANDS
from train.config.compose import compose_command, read_config
from train.data_tools.make_videos import make_videos
from train.runs.progress import ProgressDisplay

# The seeds of the real splits: videos are drawn in other processes, which know no patched ones.
TINY_SPLITS = {"train": (1001, 20), "val": (1002, 10), "test": (2001, 12)}
HERE = Path(__file__).parent
TWO = [*("-m", "torch.distributed.run", "--standalone"), "--nproc-per-node=2", "--no-python"]
PROGRAMS = {
    "adafocus": [str(Path(sys.executable).with_name("adafocus"))],
    "killed": [sys.executable, str(HERE / "killed_driver.py")],
    "first step": [sys.executable, str(HERE / "first_step_driver.py")],
}


Finished = namedtuple("Finished", "code out err")  # of a command


@contextlib.contextmanager
def _as_it_was():
    """Undo what a command changes in its process: arguments, logging, Hydra."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with mock.patch.object(sys, "argv", sys.argv), mock.patch.dict(os.environ):
        try:
            yield
        finally:
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
            GlobalHydra.instance().clear()


class WhereUsed(str):
    """An override that is left out where a command, or another algorithm, does not use its key."""

    def fits(self, keys, arguments):
        other = any(item.startswith("algo=") for item in arguments)
        if other and "policy_kwargs" in self:
            return False
        return self.split("=")[0].lstrip("+").split(".")[0] in keys


def _fitting(arguments):
    command = next((item for item in arguments if item in COMMANDS), None)
    keys = COMMANDS[command].keys if command else ()
    given = [str(item) for item in arguments]
    fits = [not isinstance(a, WhereUsed) or a.fits(keys, given) for a in arguments]
    return list(itertools.compress(given, fits))


def _run(*arguments, code=0, main=main):
    out, err = io.StringIO(), io.StringIO()
    with _as_it_was(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            ended = main(_fitting(arguments))
        except SystemExit as stop:  # how Hydra reports its own errors
            ended = stop.code if isinstance(stop.code, int) else 1
    assert ended in np.atleast_1d(code), out.getvalue() + err.getvalue()
    return Finished(ended, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run_command():
    """Runs `adafocus ARGUMENTS` in this process; its exit code must be `code`, or in it."""
    return _run


@pytest.fixture(scope="session")
def check_first_step(run_two):
    """Two processes take the first step of a supervised stage as one does; both are returned."""
    driver = runpy.run_path(str(HERE / "first_step_driver.py"))

    def take(name, folder, *arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            _run(*arguments, main=partial(driver["first_step"], name))
        return torch.load(folder / f"{name}.0.pt", weights_only=True)

    def check(folder, *arguments, **parts):
        """`parts` are other ways for one process to take the same step, by name."""
        one = take("one", folder, *arguments, "output_dir=one")
        run_two("first step", "two", *arguments, cwd=folder)
        two = [torch.load(folder / f"two.{rank}.pt", weights_only=True) for rank in (0, 1)]
        others = [take(name, folder, *arguments, *more) for name, more in parts.items()]
        driver["check_same"](one, two, others)
        return one, *others

    return check


@pytest.fixture(scope="session")
def run_tiny(run_command, tiny):
    """Runs a command on the tiny videos into a folder; its exit code must be `code`."""

    def run(command, folder, *overrides, code=0):
        return run_command(command, *tiny, f"output_dir={folder}", *overrides, code=code)

    return run


@pytest.fixture(scope="session")
def judge(run_tiny):
    """Evaluates into a folder: `evaluate.json`, its policy on the top level too, and the texts."""

    def run(folder, *overrides):
        printed = run_tiny("evaluate", folder, *overrides).out
        result = json.loads((folder / "evaluate.json").read_text())
        (policy,) = result["policies"]
        texts = {"printed": printed, "markdown": (folder / "evaluate.md").read_text()}
        return {**result, **policy, **texts}

    return run


@pytest.fixture
def refused(run_tiny, tmp_path):
    """Runs a command that must end with one line on standard error: that line."""

    def run(command, *overrides):
        # After or before the run folder is made.
        done = run_tiny(command, tmp_path / "run", *overrides, code=(1, 2))
        assert done.err.startswith(f"adafocus {command}: ")
        assert done.err.count("\n") == 1, done.err
        return done.err

    return run


@pytest.fixture(scope="session")
def run_process():
    """Runs one of `PROGRAMS` in a process of its own, or in two; the exit code must be `code`."""

    def run(program, *arguments, cwd, start=(), code=0):
        command = [*start, *PROGRAMS[program], *_fitting(arguments)]
        how = {"capture_output": True, "text": True, "timeout": 400, "check": False}
        how["env"] = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=cwd, **how)
        assert done.returncode == code, f"{done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def run_two(run_process):
    """Runs one of `PROGRAMS` in two processes, by torchrun."""
    return lambda *arguments, cwd: run_process(*arguments, cwd=cwd, start=[sys.executable, *TWO])


@pytest.fixture(scope="session")
def hold():
    """A context in which another process, which has a worker, writes into a folder."""

    @contextlib.contextmanager
    def holding(folder):
        command = [sys.executable, str(HERE / "hold_driver.py"), str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            assert process.stdout.readline() == f"{process.pid}\n"
            yield process
            process.stdin.close()

    return holding


class Cut(BaseException):
    """Ends a command as a signal would: no handler of errors takes it."""


@pytest.fixture(scope="session")
def cut():
    """Runs a function with `owner.name` replaced by one that ends it in its `count`-th call."""

    def run(owner, name, count, function, *arguments):
        real, calls = getattr(owner, name), []

        def counted(*args, **more):
            calls.append(name)
            result = real(*args, **more)
            if len(calls) == count:
                raise Cut
            return result

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, counted)
            with pytest.raises(Cut):
                function(*arguments)

    return run


@pytest.fixture(scope="session")
def changed():
    """Names of weights that differ by a bit: of networks, of tensors by name, of their folders."""

    def weights(of):
        if isinstance(of, Path):
            (file,) = of.glob("*.safetensors")
            return load_file(file)
        return of if isinstance(of, dict) else of.state_dict()

    def compare(one, other):
        one, other = weights(one), weights(other)
        assert one.keys() == other.keys()
        return {name for name in one if not torch.equal(one[name], other[name])}

    return compare


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
            video = tiny_videos / "videos" / split / f"{index:05d}.mp4"
            shutil.copy(video, folder / f"videos/{name}.mp4")
            second = f",{label + 1}" if index % 3 == 0 and label < 9 else ""
            lines.append(f"{name},{VIDEO_FRAMES},{label}{second}\n")
        (folder / f"actnet_{split}_split.txt").write_text("".join(lines))
    given = [f"source={folder / 'videos'}", f"target={folder / 'frames'}", "height=none"]
    run_command("extract-frames", *given, f"output_dir={tmp_path_factory.mktemp('extract')}")
    return folder


@pytest.fixture(scope="session")
def where_used():
    """Overrides that are left out where a command does not use their key."""
    return lambda items: [WhereUsed(item) for item in items]


@pytest.fixture(scope="session")
def tiny(tiny_videos, where_used):
    """Overrides that make any command quick."""
    sizes = "num_frames=2 hidden_dim=16 action_dim=16 epochs=1 batch_size=10 eval_freq=1 draws=2"
    policy = ["++algo.policy_kwargs.hidden_dim=16", "++algo.policy_kwargs.channels=4"]
    given = [f"data_dir={tiny_videos}", "device=cpu", *sizes.split(), *policy]
    return where_used(given)


@pytest.fixture(scope="session")
def make_config():
    """Composes and reads a command's configuration; overrides as on the command line."""

    def make(command, *overrides):
        return read_config(compose_command(command, ["output_dir=unused", *overrides]).cfg)

    return make


@pytest.fixture(scope="session")
def small_policy():
    """Makes policies of a few units, for positions of a grid or, with None, for any location."""

    def make(num_actions=16, shape=(48, 7, 7), **arguments):
        torch.manual_seed(1)
        anywhere = spaces.Box(0.0, 1.0, (2,), np.float32)
        return GruActorCriticPolicy(
            spaces.Box(0.0, 6.0, shape, np.float32),
            anywhere if num_actions is None else spaces.Discrete(num_actions),
            lambda _: 0.0,
            **{"hidden_dim": 8, "channels": 4, **arguments},
        )

    return make


@pytest.fixture(scope="session")
def handed_on(make_recognizer, tmp_path_factory):
    """What stages 0 and 1 hand on, of random weights that fit the tiny videos: part -> folder."""
    root = tmp_path_factory.mktemp("handed_on")
    torch.manual_seed(0)
    networks = ((Glancer, "mobilenet_v2_small"), (Focuser, "resnet_small"))
    for part, (network, name) in zip(("glancer", "focuser"), networks, strict=True):
        save_backbone(network(name, 10), name, CLASS_NAMES, root / part / part)
    sizes = {"num_frames": 2, "frame_size": 112, "patch_size": 32, "dropout": 0.8}
    make_recognizer(class_names=CLASS_NAMES, **sizes).save(root / "stage1" / "recognizer")
    return {part: root / part for part in ("glancer", "focuser", "stage1")}


@pytest.fixture(scope="session")
def stage2_run(run_tiny, handed_on, tmp_path_factory):
    """A run of stage 2 on the recognizer of `handed_on`; do not write to it."""
    folder = tmp_path_factory.mktemp("stage2_run") / "run"
    run_tiny("stage2", folder, f"resume={handed_on['stage1']}")
    return folder
