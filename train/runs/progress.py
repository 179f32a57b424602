"""One progress display for a run: bars with time left in a terminal, lines in a log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

log = logging.getLogger(__name__)

T = TypeVar("T")

# Time left is judged by the last thousand moves, which is what rich keeps, however long ago: an
# epoch may take hours, and rich's 30 s would then know nothing.
_SPEED_PERIOD = math.inf
# Seconds before a log's first line about a part, and between its lines. A part that will soon be
# over needs none.
_FIRST_LINE = 3.0
_LINE_PERIOD = 10.0
# Letters of a terminal: what a description may have; how wide the terminal must be for counts and a
# note, which then get the second number, else a percentage and the time get the third; what all
# but the bar takes.
_DESCRIPTION, _BESIDE_IT, _BESIDE_IT_IF_NARROW = 34, 33, 13
_WIDE = 60
_WITHOUT_BAR = 70
_LONGEST_BAR, _SHORTEST_BAR = 24, 6


class ProgressDisplay:
    """Bars for the parts of a run; where there is no terminal, lines.

    A bar says how much time is left and, when its part is done, how much it took. In a log a part
    says after its first seconds about how long it will take, then how it gets on, every ten seconds
    at most, and how long it took. These lines come when the part says that it moves: one that
    takes long for a unit should tell of parts of it (`ProgressPart.within`, `follow`).

    Args:
        console: where to draw; None makes one on standard output.
        clock: seconds; for tests.
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ):
        self.console = console or Console()
        self._clock = clock
        self._progress = Progress(
            *_columns(self.console.width),
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=_SPEED_PERIOD,
            get_time=clock,
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
            total: units of it.
        """
        began = self._clock()
        task = self._progress.add_task(description, total=total, note="")
        self._progress.advance(task, 0)  # or the first unit would say nothing of the speed
        moved = None if self.console.is_terminal else _Lines(began, self._clock, self.say).moved
        part = ProgressPart(self._progress, task, moved)
        yield part
        note = f", {part.note}" if part.note else ""
        line = f"{description}: {self._clock() - began:.1f} s{note}"
        log.info(line)
        if not self.console.is_terminal:
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line as it is, whatever brackets the paths and names in it have."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def list_files(self, heading: str, meanings: Mapping[str, str]) -> None:
        """Print names and, beside them, what they are; long meanings go on below themselves.

        Args:
            heading: a line above, such as the folder that the names are relative to.
            meanings: name -> meaning.
        """
        self.say(heading)
        names = Column(no_wrap=True, overflow="fold")
        table = Table.grid(names, Column(style="dim"), padding=(0, 2, 0, 0))
        for name, meaning in meanings.items():
            table.add_row(Text(f"  {name}"), Text(meaning))
        self.console.print(table)


class ProgressPart:
    """The bar of one part.

    Args:
        progress: all bars.
        task: this one.
        moved: told the task after each change; None for nobody.
    """

    def __init__(
        self, progress: Progress, task: TaskID, moved: Callable[[Task], None] | None = None
    ):
        self._progress = progress
        self._task = task
        self._moved = moved
        self._done = 0
        self.note = ""

    def advance(self, note: str | None = None, *, count: int = 1) -> None:
        """Units are done; `note` replaces the text beside the bar."""
        if note is not None:
            self.note = note
        self._done += count
        self._move_to(self._done)

    def found_done(self, count: int, note: str | None = None) -> None:
        """An earlier run has done units: they say nothing about the speed of this one."""
        self._progress.reset(self._task, completed=self._done + count, note=self.note)
        self._progress.advance(self._task, 0)
        self.advance(note, count=count)

    def within(self, share: float) -> None:
        """A part (0..1) of the next unit is done."""
        self._move_to(self._done + share)

    def follow(self, items: Iterable[T], count: int) -> Iterator[T]:
        """The `count` items that make up the next unit; the bar moves with them."""
        for number, item in enumerate(items):
            self.within(number / count)
            yield item

    def _move_to(self, done: float) -> None:
        self._progress.update(self._task, completed=done, note=self.note)
        if self._moved is not None:
            (task,) = (task for task in self._progress.tasks if task.id == self._task)
            self._moved(task)


class _Lines:
    """Says in a log how a part gets on.

    Args:
        began: when the part did, by the clock.
        clock: seconds.
        say: prints a line.
    """

    def __init__(self, began: float, clock: Callable[[], float], say: Callable[[str], None]):
        self._began = began
        self._clock = clock
        self._say = say
        self._last: float | None = None

    def moved(self, task: Task) -> None:
        """Say where the task is, unless it was said a moment ago."""
        if task.finished:  # what it took is said when the part ends
            return
        now, left = self._clock(), task.time_remaining
        passed = now - self._began
        if self._last is not None:
            due = now - self._last >= _LINE_PERIOD
        else:
            long = left is not None and left >= _LINE_PERIOD
            due = passed >= _LINE_PERIOD or (long and passed >= _FIRST_LINE)
        if not due:
            return
        self._last = now
        done = f"{task.completed:.1f}".removesuffix(".0")
        estimate = "" if left is None else f", about {_duration(left)} left"
        note = f", {task.fields['note']}" if task.fields["note"] else ""
        line = f"{done} of {task.total:g} after {_duration(passed)}{estimate}{note}"
        self._say(f"  {task.description}: {line}")  # only how long it took begins a line


def _duration(seconds: float) -> str:
    """In the unit that a person would use."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


class _Note(ProgressColumn):
    """As many letters of a task's note as the other columns, which stay whole, leave room for."""

    def render(self, task: Task) -> Text:
        """As rich asks for it."""
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


def _columns(width: int) -> list[ProgressColumn]:
    """What fits into the lines of a terminal: first the bar goes, then note and counts."""
    wide = width >= _WIDE
    room = width - (_BESIDE_IT if wide else _BESIDE_IT_IF_NARROW)
    described = Column(no_wrap=True, max_width=max(1, min(_DESCRIPTION, room)))
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False, table_column=described)
    ]
    bar = min(_LONGEST_BAR, width - _WITHOUT_BAR)
    if bar >= _SHORTEST_BAR:
        columns.append(BarColumn(bar_width=bar))
    whole = Column(no_wrap=True)
    columns.append(
        MofNCompleteColumn(table_column=whole)
        if wide
        else TextColumn("{task.percentage:>3.0f}%", table_column=whole)
    )
    columns.append(
        TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=whole)
    )
    return [*columns, _Note()] if wide else columns
