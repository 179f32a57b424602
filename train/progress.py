"""One progress display for a run: bars with time left in a terminal, lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

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


class ProgressDisplay:
    """Bars for the parts of a run; where there is no terminal, a line for each part that is done.

    Args:
        console: where to draw; None makes one on standard output.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.console.is_terminal,
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
            self.console.print(line, highlight=False, markup=False)


class ProgressPart:
    """The bar of one part."""

    def __init__(self, progress: Progress, task: TaskID):
        self._progress = progress
        self._task = task
        self.note = ""

    def advance(self, note: str | None = None) -> None:
        """One unit is done; `note` replaces the text beside the bar."""
        if note is not None:
            self.note = note
        self._progress.update(self._task, advance=1, note=self.note)
