"""Lines of a path and a label: `path label`, `path frames label`, with any separator.

So are the lists of UCF101 (whose test lists have no label), MMAction2, PyTorchVideo, SlowFast, and
those of the published code. Paths may contain blanks and separators, so a file is read in the way
by which most of its videos are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.config.keys import ConfigError
from train.data_tools.make_lists.clips import Annotated, VideoIndex

_SEPARATORS = ("\t", ",", ";", "|", " ")
_TRIED = 200  # lines by which the way of reading is chosen


@dataclass(frozen=True)
class _Way:
    """How a line is taken apart.

    Attributes:
        separator: between columns; a blank is any run of white space.
        frames: whether there is a column of frame counts.
        labels: 0, 1, or 2 for one or more, where the path does not contain the separator.
    """

    separator: str
    frames: bool
    labels: int

    def parse(self, line: str) -> tuple[str, tuple[str, ...]] | None:
        """(path, labels), or None where the line is not so."""
        separator = None if self.separator == " " else self.separator
        behind = self.frames + self.labels
        parts = line.split(separator) if self.labels > 1 else line.rsplit(separator, behind)
        cells = [part.strip() for part in parts]
        if len(cells) < 1 + behind - (self.labels > 1) or not all(cells):
            return None
        path, *rest = cells
        if self.frames:
            count, *rest = rest
            if not count.isdecimal():
                return None
        if self.labels > 1 and not all(label.isdecimal() for label in rest):
            return None
        return path, tuple(rest)


def read_lines(
    path: Path, text: str, index: VideoIndex, separator: str | None = None
) -> list[Annotated]:
    """The clips of a list.

    Args:
        path: the file, for messages.
        text: its content.
        index: the videos.
        separator: between columns; None tries the usual ones.

    Raises:
        ConfigError: the file is empty, or a line is unlike the others.
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    if not lines:
        raise ConfigError(f"{path}: the file is empty; write 'path label' a line")
    way = _best_way([line for _, line in lines], index, separator)
    if way is None:
        raise ConfigError(
            f"{path}:{lines[0][0]}: none of its videos is below {index.root}, however its lines "
            f"are read, such as {lines[0][1]!r}; source= must be the folder that holds them"
        )
    clips = []
    for number, line in lines:
        parsed = way.parse(line)
        if parsed is None:
            columns = "path frames label" if way.frames else "path label"
            raise ConfigError(
                f"{path}:{number}: the lines above are '{columns}' with {way.separator!r} between "
                f"them, but this one is {line!r}"
            )
        name, labels = parsed
        clips.append(Annotated((name,), labels, place=f"{path}:{number}"))
    return clips


def _best_way(lines: Sequence[str], index: VideoIndex, separator: str | None) -> _Way | None:
    """The way by which most videos are found; of equals the one with most columns."""
    step = max(1, len(lines) // _TRIED)
    best, most = None, 0
    for frames, labels in ((True, 1), (True, 2), (False, 1), (False, 2), (False, 0)):
        for between in [separator] if separator else _SEPARATORS:
            way = _Way(between, frames, labels)
            parsed = [way.parse(line) for line in lines[::step]]
            found = sum(one is not None and index.find(one[:1]) is not None for one in parsed)
            if found > most:
                best, most = way, found
    return best
