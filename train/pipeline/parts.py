"""Parts of a larger run: stages in folders of their own, some of them side by side.

Small networks leave half of two cores idle: threads wait for each other after every layer. So parts
that need nothing of each other run side by side, in processes of their own.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from adafocus_env.data import Videos
from adafocus_env.envs.factory import choose_device
from agents.flops import RunningMultiplyAdds
from train.config.sections import RunSection
from train.data_tools.worker_pool import WorkerPool, tell
from train.runs.context import RunContext
from train.runs.folder import FINISHED_FILE
from train.runs.progress import Moved, PartsElsewhere, ProgressDisplay
from train.runs.training_state import finish

C = TypeVar("C", bound=RunSection)
Stage = Callable[[C, RunContext[C], ProgressDisplay], Any]
OpenVideos = dict[tuple[str, bool, int], Videos]

_SIDE_BY_SIDE = 2  # parts at a time
_LINE = 1000  # a worker's lines are not broken

_videos: OpenVideos = {}  # of a worker, for the next part that it runs


@dataclass(frozen=True, eq=False)
class Part(Generic[C]):
    """A run of one stage, ready to start here or in another process.

    Attributes:
        name: in the table of the work.
        config: of the stage.
        folder: its run folder.
        stage: a function of a module.
        shares_videos: whether its splits are those of the other parts, so that it takes what they
            have opened.
    """

    name: str
    config: C
    folder: Path
    stage: Stage[C]
    shares_videos: bool = True

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has come to its end."""
        return (self.folder / FINISHED_FILE).is_file()

    def run(self, videos: OpenVideos | None, display: ProgressDisplay) -> Work:
        """Run it; says what it took."""
        context = RunContext(self.config, self.folder, videos if self.shares_videos else None)
        began, counter = time.monotonic(), RunningMultiplyAdds()
        try:
            with counter:
                self.stage(self.config, context, display)
            finish(self.folder, context.processes)
        finally:
            context.close()
        return Work(self.name, time.monotonic() - began, counter.total)


@dataclass(frozen=True)
class Work:
    """What a part took: wall-clock seconds, and multiply-adds."""

    name: str
    seconds: float
    multiply_adds: float


def _run_in_worker(part: Part[Any]) -> tuple[Work, str]:
    """Run a part in a worker, which tells how it gets on; what it would print is handed back."""
    if multiprocessing.parent_process() is not None:  # not where there are no workers
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // _SIDE_BY_SIDE))
    printed = io.StringIO()
    console = Console(file=printed, width=_LINE)

    def moved(how: Moved) -> None:
        tell((part.name, how))

    work = part.run(_videos, ProgressDisplay(console, tell=moved))
    return work, printed.getvalue().rstrip()


class PartsRunner:
    """Runs parts, and keeps account of what they took.

    Args:
        display: one progress display for all parts.

    Attributes:
        videos: splits that are open, for all parts that run here.
        work: what the parts took, in the order in which they ended.
    """

    def __init__(self, display: ProgressDisplay):
        self.videos: OpenVideos = {}
        self.work: list[Work] = []
        self._display = display
        self._began = time.monotonic()

    def run(self, part: Part[C]) -> str:
        """Run a part here; returns its folder for the next stages."""
        self.work.append(part.run(self.videos, self._display))
        return str(part.folder)

    def run_side_by_side(self, *parts: Part[Any]) -> list[str]:
        """Run parts that need nothing of each other, two at a time where there are two cores."""
        if not _in_pairs(parts[0].config.device):
            return [self.run(part) for part in parts]
        elsewhere = PartsElsewhere(self._display)
        self._display.say(f"side by side: {', '.join(part.name for part in parts)}")
        with WorkerPool(_SIDE_BY_SIDE, hear=lambda heard: elsewhere.show(*heard)) as pool:
            for _, (work, printed) in pool.run(_run_in_worker, parts):
                self.work.append(work)
                if printed:
                    self._display.say(printed)
        return [str(part.folder) for part in parts]

    def run_missing(self, title: str, pool: WorkerPool, *parts: Part[Any]) -> None:
        """Run those of many small parts that no earlier run has done; one bar says it all.

        Args:
            title: of the bar; the parts' work is one line of the account.
            pool: from `pool_for`.
            parts: they need nothing of each other.
        """
        missing = [part for part in parts if not part.is_done]
        began, multiply_adds = time.monotonic(), 0.0
        with self._display.part(title, len(parts)) as progress:
            if len(missing) < len(parts):
                progress.found_done(len(parts) - len(missing), "there already")
            for _, (work, _) in pool.run(_run_in_worker, missing):
                multiply_adds += work.multiply_adds
                progress.advance()
        self.work.append(Work(title, time.monotonic() - began, multiply_adds))

    def table(self) -> Table:
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


def pool_for(device: str) -> WorkerPool:
    """Processes for small parts: two where there are two cores, none beside a GPU."""
    return WorkerPool(_SIDE_BY_SIDE if _in_pairs(device) else 0)


def _in_pairs(device: str) -> bool:
    on_cpu = choose_device(device).type == "cpu"
    return on_cpu and (os.cpu_count() or 1) >= _SIDE_BY_SIDE
