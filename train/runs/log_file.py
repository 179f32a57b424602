"""The log of a run, `COMMAND.log` in its folder."""

from __future__ import annotations

import logging
from io import TextIOWrapper
from pathlib import Path

from adafocus_env.files import naming, regular


class LogFile(logging.FileHandler):
    """A file whose errors are the command's; logging itself would print them and go on."""

    def _open(self) -> TextIOWrapper:
        """As logging does; a pipe of this name would let it wait.

        Raises:
            OSError: it cannot be opened.
        """
        regular(Path(self.baseFilename))
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Raise what has just been caught.

        Raises:
            OSError: the disk is full.
        """
        with naming(Path(self.baseFilename)):
            raise
