"""Commands in processes of their own, which are sent signals, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
_MARK = "ADAFOCUS_CAMPAIGN"
_PATIENCE = 120.0  # seconds that an event may take on a busy machine
# `python -m train ARGUMENTS`, with the built-in splits of `workshop.TINY_SPLITS`.
_SMALL = (
    "import sys; from unittest import mock; from train.cli import ending; ending.answer_signals()\n"
    f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    "import workshop\n"
    "sys.argv[0] = 'adafocus'\n"
    "with workshop.shrunk_splits(): sys.exit(workshop.main(sys.argv[1:]))"
)


def environment() -> dict[str, str]:
    """Of processes that run this tree, with one thread: those of tiny networks mostly wait."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": ":".join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


class Run:
    """`adafocus ARGUMENTS` in a process group of its own; its workers are known by a mark.

    Args:
        arguments: of the command line.
        cwd: where it runs.
        small: whether the built-in splits are tiny ones.
        output: a terminal to write to; None keeps what is written in files.
        ignoring: whether it is started as in a shell's background, where Ctrl-C is ignored.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        cwd: Path,
        *,
        small: bool = False,
        output: int | None = None,
        ignoring: bool = False,
    ):
        self._mark = uuid.uuid4().hex
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        program = ["-c", _SMALL] if small else ["-m", "train"]
        self._process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._out if output is None else output,
            stderr=self._err if output is None else output,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_IGN if ignoring else signal.SIG_DFL
            ),
            env={**environment(), _MARK: self._mark},
        )

    @property
    def pid(self) -> int:
        """Of the command's own process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Until an event, which must come before the command ends."""
        deadline = time.monotonic() + _PATIENCE
        while not happened():
            assert self.is_running, f"it ended before, with {self._process.returncode}: {self.err}"
            assert time.monotonic() < deadline, "the event did not come"
            time.sleep(0.01)

    def has_loaded(self, library: str) -> bool:
        """Whether a library is mapped into its memory."""
        try:
            return library in Path(f"/proc/{self.pid}/maps").read_text()
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        """A signal: SIGINT to the whole group, as a terminal does, others to the process alone."""
        if number == signal.SIGINT:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def ended(self, within: float = _PATIENCE) -> int:
        """Its exit code, as a shell gives it."""
        code = self._process.wait(within)
        return code if code >= 0 else 128 - code

    def workers(self) -> list[str]:
        """The processes that it has started and that are there, workers of workers too."""
        return [
            " ".join(process.cmdline())
            for process in psutil.process_iter()
            if process.pid != self.pid and self._is_ours(process)
        ]

    def left(self, within: float = 10.0) -> list[str]:
        """The processes that are still there when it has been over for so long."""
        deadline = time.monotonic() + within
        while self.workers() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.workers()

    @property
    def out(self) -> str:
        """What it has printed."""
        return self._read(self._out)

    @property
    def err(self) -> str:
        """What is on standard error."""
        return self._read(self._err)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return (
                process.environ().get(_MARK) == self._mark
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    @staticmethod
    def _read(file: object) -> str:
        file.seek(0)
        return file.read().decode()
