"""Work on a video that is given up when it stalls, even inside the decoder.

A decoder that hangs cannot be interrupted from Python. So the work runs in a thread of its own,
which lets the caller wait and is left behind when no packet was done for too long; it ends by
itself when it comes back. One thread works at any time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from adafocus_env.data.clips import VideoError

DECODE_TIMEOUT = 60.0  # seconds; a frame takes milliseconds

T = TypeVar("T")


class _GivenUp(BaseException):
    """Ends work that nobody waits for any more."""


class _Job:
    """Work, and when it last did something."""

    def __init__(self, work: Callable[[], Any]):
        self.work = work
        self.done = threading.Event()
        self.last = time.monotonic()
        self.given_up = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        _here.job = self
        try:
            self.result = self.work()
        except BaseException as error:  # it is raised where the result is waited for
            self.error = error
        finally:
            _here.job = None
            self.done.set()


_here = threading.local()  # in a worker its job; in another thread its worker's queue and thread


def beat() -> None:
    """Say that the work of this thread goes on; called at every packet."""
    job: _Job | None = getattr(_here, "job", None)
    if job is not None:
        job.last = time.monotonic()
        if job.given_up:
            raise _GivenUp


def watched(path: Path, seconds: float | None, work: Callable[[], T]) -> T:
    """Do some work on a video, or give it up.

    Args:
        path: of the video.
        seconds: longest time between two calls of `beat`; None waits for ever.
        work: what to do.

    Raises:
        VideoError: nothing was done for so long.
    """
    if seconds is None:
        return work()
    job = _Job(work)
    _worker().put(job)
    while not job.done.wait(max(0.0, job.last + seconds - time.monotonic())):
        if time.monotonic() - job.last >= seconds:
            job.given_up = True
            del _here.jobs
            raise VideoError(
                f"{path}: decoding stalls: nothing came for {seconds:g} seconds; replace the "
                "video, or raise decode_timeout="
            )
    if job.error is not None:
        raise job.error
    result: T = job.result
    return result


def _worker() -> SimpleQueue[_Job]:
    """The queue of this thread's worker, which is started where there is none, as after a fork."""
    if not hasattr(_here, "jobs") or not _here.thread.is_alive():
        _here.jobs = SimpleQueue()
        _here.thread = threading.Thread(target=_serve, args=(_here.jobs,), daemon=True)
        _here.thread.start()
    jobs: SimpleQueue[_Job] = _here.jobs
    return jobs


def _serve(jobs: SimpleQueue[_Job]) -> None:
    while True:
        job = jobs.get()
        job.run()
        if job.given_up:
            return
        del job
