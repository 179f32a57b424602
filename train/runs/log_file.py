"""The log of a run, `COMMAND.log` in its folder."""

from __future__ import annotations

import logging


class LogFile(logging.FileHandler):
    """A file whose errors are the command's; logging itself would print them and go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Raise what has just been caught.

        Raises:
            OSError: the disk is full.
        """
        raise  # noqa: PLE0704
