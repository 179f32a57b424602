"""Where the demo writes; an earlier demo is kept."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)

DEMO_FOLDER = Path("outputs/demo")


def set_aside(folder: Path) -> Path | None:
    """Rename an existing folder to `FOLDER-DATE-TIME`, after when it was last written.

    Returns:
        the new name, or None where there was nothing.
    """
    if not folder.exists():
        return None
    stamp = datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
    target = folder.with_name(f"{folder.name}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = folder.with_name(f"{folder.name}-{stamp}-{number}")
    folder.rename(target)
    print(f"an earlier {folder} is now {target}")
    return target
