"""Tiny runs of all stages, a bank, frames: what the campaign kills, damages and misuses.

Everything is made in this process, in a few seconds, with the networks of the built-in task.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from hydra.core.global_hydra import GlobalHydra

from adafocus_env.data.glyphs.localization import SPLITS
from train.cli.main import main

# The seeds of the real splits: videos are drawn in other processes, which know no patched ones.
TINY_SPLITS = {"train": (1001, 20), "val": (1002, 10), "test": (2001, 12)}
STAGES = ("stage0", "stage1", "stage2", "stage3")


@dataclass(frozen=True)
class Answer:
    """What a command said, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def is_one_line(self) -> bool:
        """Whether it failed with one line on standard error that begins with the command."""
        return (
            self.code in (1, 2) and self.err.count("\n") == 1 and self.err.startswith("adafocus ")
        )


def run(*arguments: object) -> Answer:
    """`adafocus ARGUMENTS` in this process."""
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level, began = list(root.handlers), root.level, time.monotonic()
    with (
        mock.patch.object(sys, "argv", sys.argv),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main([str(item) for item in arguments])
        except SystemExit as stop:  # how Hydra's parser of flags ends
            code = stop.code if isinstance(stop.code, int) else 1
        finally:
            for handler in set(root.handlers) - set(handlers):
                with contextlib.suppress(OSError):  # as when logging shuts down
                    handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
            GlobalHydra.instance().clear()
    return Answer(code, out.getvalue(), err.getvalue(), time.monotonic() - began)


def going_on(given: Sequence[object], folder: Path) -> list[object]:
    """A command that has been interrupted and wrote into `folder`, as it is given again."""
    is_stage = given[0] in STAGES and "-m" not in given  # a sweep goes on by itself
    has_begun = any(folder.rglob("training_state.pt"))
    return [*given, *(["resume=auto"] if is_stage and has_begun else [])]


class Workshop:
    """A folder with a data set and finished runs; commands that make and use them.

    Args:
        root: an empty folder.

    Attributes:
        data: the tiny videos with their lists.
        runs: stage or part -> run folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self.data = root / "data"
        self.runs = {name: root / name for name in ("glancer", "focuser", *STAGES[1:])}
        self.bank = root / "bank"

    def make(self) -> None:
        """Videos and one run of everything."""
        with shrunk_splits():
            self.done("make-videos", f"data_dir={self.data}", f"output_dir={self.root / 'made'}")
        self.done(*self.stage("stage0", self.runs["glancer"], pretrain_glancer="true"))
        self.done(*self.stage("stage0", self.runs["focuser"], pretrain_glancer="false"))
        for name in STAGES[1:]:
            self.done(*self.stage(name, self.runs[name]))
        for split in ("train", "val"):
            self.done(*self.bank_of(split, self.bank))

    def done(self, *arguments: object) -> Answer:
        """A command that must work."""
        answer = run(*arguments)
        assert answer.code == 0, f"{arguments}: {answer.err}{answer.out}"
        return answer

    def basics(self, **changes: object) -> list[str]:
        """Overrides for any command on the data set."""
        values = {"dataset": "videos", "data_dir": self.data, "device": "cpu", "num_frames": 2}
        return [
            "experiment=glyphs",
            *(f"{name}={value}" for name, value in {**values, **changes}.items()),
        ]

    def stage(self, name: str, folder: Path, **changes: object) -> list[str]:
        """A stage's command line."""
        values: dict[str, object] = {"batch_size": 6, "epochs": 2, "output_dir": folder}
        if name == "stage0":
            values["pretrain_glancer"] = "true"
        elif name == "stage1":
            values["pretrained_glancer"] = self.runs["glancer"]
            values["pretrained_focuser"] = self.runs["focuser"]
        else:
            values["recognizer"] = self.runs["stage1" if name == "stage2" else "stage2"]
        if name == "stage3":
            values["policy"] = self.runs["stage2"]
        return [name, *self.basics(**{**values, **changes})]

    def bank_of(self, split: str, target: Path, **changes: object) -> list[str]:
        """The command line of a bank."""
        folder = self.root / f"bank_run_{target.name}_{split}"
        values = {"resume": self.runs["stage1"], "split": split, "target": target}
        return ["bank", *self.basics(**{**values, "output_dir": folder, **changes})]

    def copy(self, name: str, to: Path) -> Path:
        """A copy of a run, to be damaged."""
        shutil.copytree(self.runs[name], to)
        return to


@contextlib.contextmanager
def shrunk_splits():
    """The built-in splits with a few videos each."""
    with mock.patch.dict(SPLITS, TINY_SPLITS):
        yield
