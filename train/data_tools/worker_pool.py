"""The same work on many videos, in several processes that do not outlive the run."""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Protocol, TypeVar

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

    Raises:
        WorkerError: the system has no room for them.
    """

    def __init__(self, workers: int):
        self._pool = None
        self._workers = workers
        if workers > 0:
            context = mp.get_context("spawn")
            with starting_workers(workers):
                self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

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


def _begin() -> None:
    """One thread a process, no messages of the decoder, and no life after the parent's death."""
    follow_parent()
    import cv2

    cv2.setNumThreads(1)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
