"""Kills at random moments, damaged and hostile files, bad settings: nothing may be lost or hidden.

usage: python tests/hardening/campaign.py [--seed S] [--kills N]

Ends with code 1 unless every count is full. What is killed runs in processes of its own; the rest
is the same entry point in this one, so that a second of work is not hidden behind the imports.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hostile import Case, Damage, settings
from processes import Run
from workshop import STAGES, Workshop, going_on, run, shrunk_splits

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Seconds in which a command imports what it needs, and then works: a third of the kills fall there.
START_UP, WORK = 3.0, 4.0
ONE_SECOND = 1.0
_KEPT = (".safetensors", ".mp4", ".jpg", ".npy", ".txt")


def kill_cases(shop: Workshop, folder: Path) -> dict[str, list[object]]:
    """Commands that are killed and then given again, by name."""
    once = shop.stage("stage1", folder / "run", epochs=8)
    tuned = shop.stage("stage2", folder / "run", epochs=4)
    frames = [f"source={shop.data / 'videos'}", f"target={folder / 'frames'}", "num_workers=1"]
    return {
        **{name: shop.stage(name, folder / "run", epochs=20) for name in STAGES},
        "stage2 with workers": shop.stage("stage2", folder / "run", epochs=9, num_workers=1),
        "bank": shop.bank_of("train", folder / "bank", num_workers=1, output_dir=folder / "run"),
        "extract-frames": ["extract-frames", *frames, f"output_dir={folder / 'run'}"],
        "make-videos": [
            "make-videos",
            f"data_dir={folder / 'made'}",
            f"output_dir={folder / 'run'}",
        ],
        "sweep": [*once, "-m", "seed=0,1"],
        "tune": ["tune", *tuned[1:], "trials=2"],
    }


def contents(folder: Path) -> dict[str, bytes]:
    """The files that must be the same however often a command was killed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in _KEPT
    }


class Watched:
    """A folder whose file nobody may read: its time of access would say so.

    Also a decoder's own reading shows there, which Python's audit hooks do not see.

    Args:
        folder: made here.
        like: a video, to be worth reading.

    Raises:
        RuntimeError: the file system keeps no such times, so that nothing could be said.
    """

    def __init__(self, folder: Path, like: Path):
        folder.mkdir()
        self.folder = folder
        self._file = folder / "secret.mp4"
        shutil.copy(like, self._file)
        self._reset()
        self._file.read_bytes()
        if not self.read():
            raise RuntimeError(f"{folder} is on a file system that does not tell what was read")
        self._reset()

    def read(self) -> list[str]:
        """Those that were."""
        return [str(self._file)] if self._file.stat().st_atime > 1 else []

    def _reset(self) -> None:
        os.utime(self._file, (0, time.time()))  # older than the change: so relatime notes it


@dataclass
class Count:
    """How many of how many went well."""

    good: int = 0
    total: int = 0

    def add(self, well: bool) -> None:
        """One more."""
        self.total += 1
        self.good += well

    def __str__(self) -> str:
        return f"{self.good} of {self.total}"


@dataclass
class Campaign:
    """What was tried and what went wrong.

    Attributes:
        shop: what commands work on.
        root: an empty folder.
        rng: of the moments and the damage.
        failures: a line each.
        left: processes that outlived their command.
        early: commands that had ended by themselves when they should have been killed.
    """

    shop: Workshop
    root: Path
    rng: random.Random
    failures: list[str] = field(default_factory=list)
    left: int = 0
    early: int = 0

    def kills(self, number: int) -> Count:
        """Kill commands at random moments and give them again."""
        count = Count()
        whole: dict[str, dict[str, bytes]] = {}
        names = list(kill_cases(self.shop, self.root))
        self.rng.shuffle(names)
        for index in range(number):
            name, how = names[index % len(names)], self.rng.choice(SIGNALS)
            if name not in whole:
                whole[name] = self._whole(name)
            early = self.rng.random() < 1 / 3
            moment = self.rng.uniform(0.1, START_UP) + (0.0 if early else self.rng.uniform(0, WORK))
            folder = self.root / "killed" / f"{index}"
            problem = self._kill(name, how, moment, folder, whole[name])
            count.add(problem is None)
            if problem is not None:
                self.failures.append(f"{name}, {how.name} after {moment:.2f} s: {problem}")
            shutil.rmtree(folder, ignore_errors=True)
        return count

    def _whole(self, name: str) -> dict[str, bytes]:
        folder = self.root / "whole" / name.replace(" ", "_")
        with shrunk_splits():
            self.shop.done(*kill_cases(self.shop, folder)[name])
        found = contents(folder)
        assert found, f"{name} made nothing that could be compared"
        return found

    def _kill(
        self, name: str, how: signal.Signals, moment: float, folder: Path, whole: dict[str, bytes]
    ) -> str | None:
        """What went wrong; None if nothing did."""
        folder.mkdir(parents=True)
        given = kill_cases(self.shop, folder)[name]
        process = Run(given, self.root, small=True)
        deadline = time.monotonic() + moment
        while process.is_running and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.is_running:
            process.send(how)
        code, left = process.ended(), process.left()
        self.left += len(left)
        self.early += code == 0
        if left:
            return f"left {left}"
        if code not in (0, 128 + how):
            return f"ended with {code}: {process.err}"
        if code and how != signal.SIGKILL and process.err.count("\n") != 1:
            return f"said {process.err!r}"
        if code:
            with shrunk_splits():
                answer = run(*going_on(given, folder))
            if answer.code:
                return f"did not go on: {answer.err}"
        if unfinished := list(folder.rglob(".*.part*")):
            return f"unfinished files were left: {unfinished}"
        found = contents(folder)
        other = sorted(n for n in found.keys() | whole.keys() if found.get(n) != whole.get(n))
        return f"other results than without the kill: {other[:3]}" if other else None

    def answers(self, cases: Iterable[Case]) -> Count:
        """Commands that must be refused in one line, after a second of work at most."""
        count = Count()
        for name, arguments in cases:
            began = time.process_time()
            answer = run(*arguments)
            seconds = time.process_time() - began
            well = answer.is_one_line and seconds <= ONE_SECOND
            count.add(well)
            if not well:
                said = answer.err or answer.out
                self.failures.append(f"{name}: code {answer.code}, {seconds:.1f} s: {said[:1500]}")
        return count


def training_state(shop: Workshop, folder: Path) -> Path:
    """That of a killed run of stage 1."""
    process = Run(shop.stage("stage1", folder, epochs=1000), folder.parent)
    state = folder / "training_state.pt"
    process.wait_until(state.is_file)
    process.send(signal.SIGKILL)
    process.ended()
    return state


def carry_out(shop: Workshop, root: Path, *, seed: int, kills: int) -> list[str]:
    """The whole campaign; prints its counts and returns what went wrong.

    Args:
        shop: what commands work on.
        root: an empty folder.
        seed: of everything random.
        kills: how many.
    """
    campaign = Campaign(shop, root, random.Random(seed))
    canary = root / "canary"
    outside = Watched(root / "outside", next((shop.data / "videos").rglob("*.mp4")))
    rest = {"canary": canary, "outside": outside.folder}
    state = training_state(shop, root / "state")
    damage = Damage(shop, root, campaign.rng, state=state, **rest)
    with contextlib.chdir(root):  # where a command is not told its folder, it writes to outputs/
        killed = campaign.kills(kills)
        damaged = campaign.answers(damage.cases())
        bad = campaign.answers(settings(shop, root, campaign.rng))
    within = "answered in one line within a second of the start-up"
    print(f"seed {seed}")
    print(f"kills: {killed} continued ({campaign.early} had ended before)")
    print(f"damaged and hostile files: {damaged} {within}")
    print(f"bad settings: {bad} {within}")
    print(f"{int(canary.exists())} code executed")
    print(f"{campaign.left} processes left")
    print(f"{len(outside.read())} files read outside")
    if campaign.early > kills / 3:
        campaign.failures.append("too few commands were at work when they were killed")
    if canary.exists():
        campaign.failures.append("code of a file was executed")
    campaign.failures += [f"{file} was read" for file in outside.read()]
    print(*campaign.failures, sep="\n")
    return campaign.failures


def main() -> int:
    """Run the campaign; 0 for full marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        shop = Workshop(Path(name) / "shop")
        shop.root.mkdir()
        shop.make()
        root = Path(name) / "campaign"
        root.mkdir()
        return 1 if carry_out(shop, root, seed=given.seed, kills=given.kills) else 0


if __name__ == "__main__":
    sys.exit(main())
