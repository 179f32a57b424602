"""One progress display for a run: bars with time left in a terminal, lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

# Time left is judged by this many of the last seconds: an epoch may take minutes, and rich's 30 s
# would then know nothing.
_SPEED_PERIOD = 900.0


class ProgressDisplay:
    """Bars for the parts of a run; where there is no terminal, a line for each part that is done.

    Args:
        console: where to draw; None makes one on standard output.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self._progress = Progress(
            TextColumn("{task.description:<34}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=_SPEED_PERIOD,
        )

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    @contextmanager
    def part(self, description: str, total: int) -> Iterator[ProgressPart]:
        """One bar.

        Args:
            description: what is being done.
            total: how many `advance` calls it takes.
        """
        began = time.monotonic()
        task = self._progress.add_task(description, total=total, note="")
        part = ProgressPart(self._progress, task)
        yield part
        note = f", {part.note}" if part.note else ""
        line = f"{description}: {time.monotonic() - began:.1f} s{note}"
        log.info(line)
        if not self.console.is_terminal:
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line as it is, whatever brackets the paths and names in it have."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class ProgressPart:
    """The bar of one part."""

    def __init__(self, progress: Progress, task: TaskID):
        self._progress = progress
        self._task = task
        self._done = 0
        self.note = ""

    def advance(self, note: str | None = None, *, count: int = 1) -> None:
        """Units are done; `note` replaces the text beside the bar.

        What an earlier run has done is said in one call, which does not count for the speed.
        """
        if note is not None:
            self.note = note
        self._done += count
        self._progress.update(self._task, completed=self._done, note=self.note)

    def within(self, share: float) -> None:
        """A part (0..1) of the next unit is done."""
        self._progress.update(self._task, completed=self._done + share)

    def follow(self, items: Iterable[T], count: int) -> Iterator[T]:
        """The `count` items that make up the next unit; the bar moves with them."""
        for number, item in enumerate(items):
            self.within(number / count)
            yield item
