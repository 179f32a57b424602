"""What every worker process owes its parent: to leave Ctrl-C to it, and not to outlive it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

_PERIOD = 0.25  # seconds between two looks at whether the parent is there


class WorkerError(RuntimeError):
    """Worker processes cannot be started, or one of them died; the message says what to do."""


def follow_parent() -> None:
    """Ignore Ctrl-C, which a terminal sends to all, and end as soon as the parent has ended.

    Called first in a worker, in its main thread. The parent's end is seen by its number alone: a
    forked worker shares its pipes with the workers that were forked after it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    number = os.getppid() if parent is None else parent.pid
    threading.Thread(target=_end_after, args=(number,), daemon=True).start()


def _end_after(parent: int | None) -> None:
    while os.getppid() == parent:
        time.sleep(_PERIOD)
    os._exit(1)


@contextmanager
def telling_of_workers(count: int) -> Iterator[None]:
    """Around the start of workers, their jobs and the wait for results: what fails is explained.

    Args:
        count: of the processes.

    Raises:
        WorkerError: the system has no room for them, or one of them died.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a worker process died: the memory was too small for num_workers={count}, or a video "
            "makes the decoder crash"
        ) from error


@contextmanager
def starting_workers(count: int) -> Iterator[None]:
    """Around the start of workers: what the system cannot give is explained.

    Args:
        count: of the processes.

    Raises:
        WorkerError: there are no semaphores, or no more processes.
    """
    try:
        yield
    except (OSError, NotImplementedError) as error:
        raise WorkerError(
            f"num_workers={count} processes cannot be started ({error}); they need semaphores, "
            "which lie in /dev/shm, and free processes (ulimit -u); or use num_workers=0"
        ) from error
