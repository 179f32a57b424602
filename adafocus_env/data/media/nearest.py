"""What may have been meant by a path at which there is nothing."""

from __future__ import annotations

import difflib
import itertools
import os
import re
from pathlib import Path

_MOST = 100_000  # names of a folder that are looked at


def nearest(path: Path) -> str:
    """`; did you mean NAME, which is there?` with the nearest name, or nothing.

    A name that begins as the missing one does counts most: `base_000010_000020.mp4` for `base` or
    `base.avi`. Where the folder itself is missing, it is named.
    """
    for parent in reversed(path.parents):
        if not parent.is_dir():
            return f"; there is no folder {parent}{nearest(parent)}"
    try:
        with os.scandir(path.parent) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, _MOST))
    except OSError:
        return ""
    stem = path.stem
    same = [name for name in names if Path(name).stem.lower() == stem.lower()]
    begins = [name for name in names if re.match(rf"{re.escape(stem)}(?!\d)", name, re.I)]
    # Another number is another video.
    words = re.sub(r"\d+", "", path.name)
    others = [name for name in names if re.sub(r"\d+", "", name) != words]
    found = [*same, *begins, *difflib.get_close_matches(path.name, others, n=1, cutoff=0.8)]
    return f"; did you mean {path.with_name(found[0])}, which is there?" if found else ""
