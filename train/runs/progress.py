"""One progress display for a run: bars with time left in a terminal, lines in a log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, Task, TaskID
from rich.table import Column, Table
from rich.text import Text

from train.runs.progress_columns import columns_that_fit

log = logging.getLogger(__name__)

T = TypeVar("T")

# Time left is judged by the last thousand moves, which is what rich keeps, however long ago: an
# epoch may take hours, and rich's 30 s would then know nothing.
_SPEED_PERIOD = math.inf
# Seconds before a log's first line about a part, and between its lines. A part that will soon be
# over needs none.
_FIRST_LINE = 3.0
_LINE_PERIOD = 10.0
# Seconds between what another process hears of a part.
_TOLD_PERIOD = 0.5


@dataclass(frozen=True)
class Moved:
    """Where a part is, for another process that shows it; `done` is None at its end."""

    description: str
    total: float
    done: float | None
    note: str


class ProgressDisplay:
    """Bars for the parts of a run; where there is no terminal, lines.

    A bar says how much time is left and, when its part is done, how much it took. In a log a part
    says after its first seconds about how long it will take, then how it gets on, every ten seconds
    at most, and how long it took. These lines come when the part says that it moves: one that
    takes long for a unit should tell of parts of it (`ProgressPart.within`, `follow`).

    Args:
        console: where to draw; None makes one on standard output.
        clock: seconds; for tests.
        tell: another display shows the parts, see `PartsElsewhere`; nothing is drawn here.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[Moved], None] | None = None,
    ):
        self.console = console or Console()
        self._clock = clock
        self._tell = tell
        self._progress = Progress(
            *columns_that_fit(self.console.width),
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
        moved = None
        if self._tell is not None:
            moved = _Telling(self._clock, self._tell).moved
        elif not self.console.is_terminal:
            moved = _Lines(began, self._clock, self.say).moved
        part = ProgressPart(self._progress, task, moved)
        part.advance(count=0)
        yield part
        note = f", {part.note}" if part.note else ""
        line = f"{description}: {self._clock() - began:.1f} s{note}"
        log.info(line)
        if self._tell is not None:
            self._tell(Moved(description, total, None, part.note))
        elif not self.console.is_terminal:
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

    def stand_at(self, done: float, note: str) -> None:
        """As another process says of it."""
        self.note = note
        self._move_to(done)

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


class PartsElsewhere:
    """Shows the parts of runs in other processes, whose displays `tell` of them.

    Args:
        display: has a bar for each, or lines.
    """

    def __init__(self, display: ProgressDisplay):
        self._display = display
        self._bars: dict[tuple[str, str], tuple[ExitStack, ProgressPart]] = {}

    def show(self, run: str, moved: Moved) -> None:
        """A part of a run has moved, or begun, or ended."""
        key = run, moved.description
        if key not in self._bars:
            stack = ExitStack()
            bar = stack.enter_context(self._display.part(moved.description, int(moved.total)))
            self._bars[key] = stack, bar
        stack, bar = self._bars[key]
        bar.stand_at(moved.total if moved.done is None else moved.done, moved.note)
        if moved.done is None:
            del self._bars[key]
            stack.close()


class _Telling:
    """Tells of a part, from time to time.

    Args:
        clock: seconds.
        tell: what.
    """

    def __init__(self, clock: Callable[[], float], tell: Callable[[Moved], None]):
        self._clock = clock
        self._tell = tell
        self._last = -math.inf

    def moved(self, task: Task) -> None:
        """Say where the task is, unless it was said a moment ago."""
        if self._clock() - self._last >= _TOLD_PERIOD:
            self._last = self._clock()
            note = task.fields["note"]
            self._tell(Moved(task.description, task.total or 0, task.completed, note))


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
