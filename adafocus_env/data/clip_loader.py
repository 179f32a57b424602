"""ClipLoader: clips of a split, loaded by other processes, also before they are needed."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from adafocus_env.data.clips import Clip, Videos
from adafocus_env.worker_process import follow_parent, starting_workers, telling_of_workers

# A clip is a pure function of these: index into the split, episode seed.
ClipKey = tuple[int, int]
# Frames, label and glance frames, as they come from a worker.
_Parts = tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.uint8] | None]


class ClipLoader:
    """Loads the clips that `videos.clip` gives, the same with any number of workers.

    A worker's error is raised where the clip is needed, as without workers. Clips come through
    pipes, so that the size of /dev/shm does not matter.

    Args:
        videos: the split.
        num_workers: processes; 0 loads in this one, when a clip is needed.

    Raises:
        ValueError: a negative number of workers.
        WorkerError: the system has no room for them.
    """

    def __init__(self, videos: Videos, num_workers: int = 0):
        if num_workers < 0:
            raise ValueError(f"num_workers must be 0 or more, not {num_workers}")
        self._videos = videos
        self._coming: dict[ClipKey, Future[_Parts]] = {}
        self._workers: ProcessPoolExecutor | None = None
        if num_workers:
            # Where there is fork, as DataLoader's workers: the split is inherited, not sent.
            forks = "fork" in multiprocessing.get_all_start_methods()
            with starting_workers(num_workers):
                self._workers = ProcessPoolExecutor(
                    num_workers,
                    mp_context=multiprocessing.get_context("fork" if forks else None),
                    initializer=_open_worker,
                    initargs=(videos,),
                )
        self._num_workers = num_workers

    @property
    def works_ahead(self) -> bool:
        """Whether `prefetch` does anything."""
        return self._workers is not None

    def prefetch(self, keys: Sequence[ClipKey]) -> None:
        """Begin to load clips that will be needed; others that were announced are forgotten."""
        if self._workers is None:
            return
        for key in self._coming.keys() - set(keys):
            self._coming.pop(key).cancel()
        for key in keys:
            if key not in self._coming:
                self._coming[key] = self._submit(self._workers, key)

    def load(self, keys: Sequence[ClipKey]) -> list[Clip]:
        """The clips, in order, waiting for those that are not there yet.

        Raises:
            VideoError: a video cannot be read.
            WorkerError: a worker died, or none can be started.
        """
        if self._workers is None:
            return [self._videos.clip(*key) for key in keys]
        futures = {key: self._coming.pop(key, None) for key in keys}
        loading = {
            key: self._submit(self._workers, key) if future is None else future
            for key, future in futures.items()
        }
        with telling_of_workers(self._num_workers):
            loaded = [loading[key].result() for key in keys]
        return [
            Clip(torch.from_numpy(frames), label, None if seen is None else torch.from_numpy(seen))
            for frames, label, seen in loaded
        ]

    def close(self) -> None:
        """End the workers; clips that are asked for afterwards are loaded in this process."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
        self._workers = None
        self._coming.clear()

    def _submit(self, workers: ProcessPoolExecutor, key: ClipKey) -> Future[_Parts]:
        with telling_of_workers(self._num_workers), starting_workers(self._num_workers):
            return workers.submit(_load_in_worker, key)


_videos: Videos | None = None


def _open_worker(videos: Videos) -> None:
    global _videos
    follow_parent()
    _videos = videos
    torch.set_num_threads(1)
    gc.freeze()  # what it inherited is no garbage, nor looked through for any


def _load_in_worker(key: ClipKey) -> _Parts:
    """Frames as an array: a tensor would be sent through a file descriptor each."""
    assert _videos is not None
    clip = _videos.clip(*key)
    seen = None if clip.glance_frames is None else clip.glance_frames.numpy()
    return clip.frames.numpy(), clip.label, seen
