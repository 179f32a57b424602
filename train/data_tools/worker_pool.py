"""The same work on many videos, in several processes that do not outlive the run."""

from __future__ import annotations

import multiprocessing as mp
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import Any, Protocol, TypeVar

from adafocus_env.folders import held_folders, hold_as_parent
from adafocus_env.worker_process import follow_parent, starting_workers, telling_of_workers
from train.runs.progress import ProgressDisplay

Job = TypeVar("Job")
Result = TypeVar("Result")


class Outcome(Protocol):
    """The result of a job that may have failed without stopping the others."""

    @property
    def error(self) -> str | None:
        """Why it failed; None if it did not."""
        ...


Found = TypeVar("Found", bound=Outcome)


class WorkerPool:
    """Processes that call functions of modules.

    Args:
        workers: how many; 0 calls the functions in this process, in order.
        hear: is given what they `tell`, in a thread of its own; None: nobody listens.

    Raises:
        WorkerError: the system has no room for them.
    """

    def __init__(self, workers: int, *, hear: Callable[[Any], None] | None = None):
        self._pool = None
        self._workers = workers
        self._mouth: Connection | None = None
        if workers > 0:
            context = mp.get_context("spawn")
            with starting_workers(workers):
                shared = None
                if hear is not None:
                    ear, self._mouth = context.Pipe(duplex=False)
                    shared = self._mouth, context.Lock()
                    self._listener = threading.Thread(target=_listen, args=(ear, hear), daemon=True)
                    self._listener.start()
                self._pool = ProcessPoolExecutor(
                    workers,
                    mp_context=context,
                    initializer=_begin,
                    initargs=(held_folders(), shared),
                )

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._mouth is not None:  # the last one that is open: then the listener's pipe ends
            self._mouth.close()
            self._listener.join()

    def run(
        self, function: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[Job, Result]]:
        """Call a function for every job.

        Yields:
            (job, result), in the order in which they are done.

        Raises:
            WorkerError: a process died, or none can be started.
        """
        if self._pool is None:
            for job in jobs:
                yield job, function(job)
            return
        with telling_of_workers(self._workers):
            with starting_workers(self._workers):
                futures = {self._pool.submit(function, job): job for job in jobs}
            for future in as_completed(futures):
                yield futures.pop(future), future.result()


def run_all(
    function: Callable[[Job], Found],
    jobs: Sequence[Job],
    *,
    workers: int,
    display: ProgressDisplay,
    title: str,
    estimate: Callable[[dict[Job, Found], Sequence[Job]], None],
) -> dict[Job, Found]:
    """Do a few jobs from all over, say what the rest will take, then do the rest with a bar.

    Args:
        function: of a module.
        jobs: hashable.
        workers: processes, see `WorkerPool`.
        display: progress.
        title: of the bar.
        estimate: is given the first results and the jobs that are left.

    Returns:
        job -> result.
    """
    if not jobs:
        return {}
    few = [jobs[i] for i in sorted({0, len(jobs) // 2, len(jobs) - 1})]
    rest = [job for job in jobs if job not in few]
    with WorkerPool(min(workers, len(jobs))) as pool:
        results = dict(pool.run(function, few))
        estimate(results, rest)
        with display.part(title, len(rest)) as progress:
            failed = 0
            for job, result in pool.run(function, rest):
                results[job] = result
                failed += result.error is not None
                progress.advance(f"{failed} failed" if failed else None)
    return results


_mouth: tuple[Connection, Lock] | None = None  # of a worker whose parent listens


def tell(message: Any) -> None:
    """Say something to the process that made this one's pool, if it listens."""
    if _mouth is not None:
        pipe, one_at_a_time = _mouth
        with one_at_a_time:
            pipe.send(message)


def _listen(ear: Connection, hear: Callable[[Any], None]) -> None:
    with ear:
        while True:
            try:
                message = ear.recv()
            except EOFError:
                return
            hear(message)


def _begin(folders: Mapping[Path, tuple[int, int]], mouth: tuple[Connection, Lock] | None) -> None:
    """One thread a process, no messages of the decoder, and no life after the parent's death."""
    global _mouth
    _mouth = mouth
    follow_parent()
    hold_as_parent(folders)
    import cv2

    cv2.setNumThreads(1)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
