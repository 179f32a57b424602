"""Two ways of doing the same thing, each in a process of its own, timed in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Way:
    """One way of doing a task.

    Attributes:
        name: key of `tasks.TASKS`.
        allocator: `"default"`: glibc's own settings; `"kept"`: as the `adafocus` launcher sets it.
        threads: of torch.
    """

    name: str
    allocator: str = "default"
    threads: int = 1


@dataclass
class Timings:
    """What one way took.

    Attributes:
        seconds: of one run in each repeat: CPU time with one thread, wall-clock time with more.
        floors: of each repeat, the multiply-adds that are needed at the rate of a large matrix
            product, measured just before; NaN where the task has no such number.
        resnet_floors: the same at the rate of a ResNet-50 batch, measured once.
        peak_mib: largest resident memory of the process in its first two runs.
        resident_mib: memory of the process before them, when networks are there.
        frames: that one run looks at; 0 where a rate means nothing.
    """

    seconds: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    resnet_floors: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    resident_mib: float = 0.0
    frames: int = 0

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    @property
    def times_floor(self) -> float:
        """Median of the repeats' ratios to their floors."""
        return self._times(self.floors)

    @property
    def times_resnet_floor(self) -> float:
        """The same with the rate of a ResNet-50 batch."""
        return self._times(self.resnet_floors)

    def _times(self, floors: list[float]) -> float:
        pairs = zip(self.seconds, floors, strict=True)
        return statistics.median(seconds / floor for seconds, floor in pairs)


class Process:
    """A worker process that has built its task and waits to be told to run it.

    Args:
        way: what it does.
        folder: its temporary folder, where a task may leave banks.
    """

    def __init__(self, way: Way, folder: str):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(way.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TMPDIR": folder,
        }
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), way.name, way.allocator, str(way.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()  # ready

    def run(self) -> dict[str, Any]:
        """One repeat."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(ways: Sequence[Way], repeats: int) -> list[Timings]:
    """Time several ways, interleaved, after one repeat of each that does not count."""
    timings = [Timings() for _ in ways]
    with tempfile.TemporaryDirectory() as folder:
        processes = [Process(way, folder) for way in ways]
        try:
            for process in processes:
                process.run()
            for _ in range(repeats):
                for process, timing in zip(processes, timings, strict=True):
                    answer = process.run()
                    timing.seconds.append(answer["seconds"])
                    timing.floors.append(answer["floor"])
                    timing.resnet_floors.append(answer["resnet_floor"])
                    timing.peak_mib = answer["peak_mib"]
                    timing.resident_mib = answer["resident_mib"]
                    timing.frames = answer["frames"]
        finally:
            for process in processes:
                process.close()
    return timings


def paired_ratio(slow: Timings, fast: Timings) -> float:
    """Median over the repeats of slow / fast, each measured one after the other."""
    pairs = zip(slow.seconds, fast.seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)
