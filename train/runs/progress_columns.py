"""What of a progress bar fits into a terminal."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

# Letters of a terminal: what a description may have; how wide the terminal must be for counts and a
# note, which then get the second number, else a percentage and the time get the third; what all
# but the bar takes.
_DESCRIPTION, _BESIDE_IT, _BESIDE_IT_IF_NARROW = 34, 33, 13
_WIDE = 60
_WITHOUT_BAR = 70
_LONGEST_BAR, _SHORTEST_BAR = 24, 6


def columns_that_fit(width: int) -> list[ProgressColumn]:
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


class _Note(ProgressColumn):
    """As many letters of a task's note as the other columns, which stay whole, leave room for."""

    def render(self, task: Task) -> Text:
        """As rich asks for it."""
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")
