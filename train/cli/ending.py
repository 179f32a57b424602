"""The end of a command by Ctrl-C or SIGTERM: at once, wherever it is, with one line.

What a command writes is whole or not there whenever it is killed, so nothing is unwound here:
other libraries would hold that up, or fill the terminal. A thread of its own is told of the signal
by the C library, also while the main thread is in the middle of an import or of a matrix product;
it ends the workers and the process, while the main thread stands still, whatever locks it holds:
so that thread imports nothing and takes no lock of Python's libraries. Only what is imported at
once is imported here: nothing may be slow before the signals are answered.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_FLUSHED_WITHIN = 1.0  # seconds; the main thread may have stopped while it writes
_ENDED_WITHIN = 4.0  # seconds, whatever happens
_SHOW_CURSOR = "\x1b[?25h\n"


class _Command:
    """What is said of the command that runs."""

    name = ""
    how_to_go_on: Callable[[], str] = staticmethod(lambda: "run the same command again")


_command = _Command()


def answer_signals() -> None:
    """Let Ctrl-C and SIGTERM end this process as described above; for programs, not libraries.

    Processes that are started afterwards do not see a terminal's Ctrl-C: this one ends them. A
    signal that is ignored, as Ctrl-C is in a shell's background, stays so.
    """
    taken = [number for number in _NAMES if signal.getsignal(number) is not signal.SIG_IGN]
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(told,), daemon=True).start()
    for number in taken:
        signal.signal(number, _stand_still)
    # After the thread, which must see it; inherited by all others, and by processes.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    # Multiprocessing's tracker removes what an ended process has left, and would complain.
    filters = [os.environ.get("PYTHONWARNINGS", ""), "ignore:resource_tracker:UserWarning"]
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, filters))
    os.register_at_fork(after_in_child=_leave_to_parent)
    atexit.register(_answer_no_more)  # called last: no thread runs when the interpreter is undone


def now_runs(name: str, how_to_go_on: Callable[[], str] | None = None) -> None:
    """Say which command runs, and what to do when it was ended, as the end of a sentence."""
    _command.name = name
    if how_to_go_on is not None:
        _command.how_to_go_on = how_to_go_on


def how_to_go_on() -> str:
    """What to do when the command has not come to its end."""
    return _command.how_to_go_on()


def _watch(told: int) -> None:
    while True:
        for number in os.read(told, 1):
            if number in _NAMES:
                _end(signal.Signals(number))


def _end(number: signal.Signals) -> None:
    signal.setitimer(signal.ITIMER_REAL, _ENDED_WITHIN)  # then the system ends this process
    try:
        _flush()
        for child in _descendants():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        if os.environ.get("RANK", "0") == "0":  # one process of a run speaks for all
            if os.isatty(1):
                os.write(1, _SHOW_CURSOR.encode())
            who = f"adafocus {_command.name}".rstrip()
            os.write(2, f"{who}: ended by {_NAMES[number]}; {how_to_go_on()}\n".encode())
    finally:
        os._exit(128 + number)


def _flush() -> None:
    """Write out what was printed, unless the main thread has stopped within that."""
    flushed: list[None] = []
    _thread.start_new_thread(lambda: flushed.append(sys.stdout.flush()), ())
    deadline = time.monotonic() + _FLUSHED_WITHIN
    while not flushed and time.monotonic() < deadline:
        time.sleep(0.01)


def _descendants() -> list[int]:
    """The numbers of this process's children, and of theirs.

    Multiprocessing's resource tracker, which is among them, ignores SIGTERM: it tidies up and ends
    by itself.
    """
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), []))
    for process in found:  # grows
        found += children.get(process, [])
    return found


def _stand_still(*_signal_and_frame: object) -> None:
    """What the main thread does until the process has ended."""
    while True:
        time.sleep(1)


def _leave_to_parent() -> None:
    """In a forked process: its signals are none of this one's."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _answer_no_more() -> None:
    for number in _NAMES:
        if signal.getsignal(number) is _stand_still:
            signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
