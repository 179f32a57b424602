"""How many frames videos have, counted in several processes, each video once for all runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adafocus_env.data import VideoError
from adafocus_env.data.media.packet_index import version_of
from adafocus_env.data.media.stall import watched
from adafocus_env.data.media.video_files import VideoFileReader
from train.data_tools.worker_pool import WorkerPool
from train.runs.progress import ProgressDisplay

COUNTS_FILE = "frame_counts.jsonl"


@dataclass(frozen=True)
class CountJob:
    """A video to count.

    Attributes:
        root: folder of the videos, without links.
        path: relative to it.
        frame_rate: at which frames are counted; None: its own.
        decode_timeout: seconds without a packet after which it is given up; None: never.
    """

    root: Path
    path: str
    frame_rate: float | None
    decode_timeout: float | None


@dataclass(frozen=True)
class Counted:
    """What was found.

    Attributes:
        frames: that the video has; 0 if it cannot be read.
        error: why not; None if it can.
        size: of the file in bytes.
        mtime_ns: when it was changed.
    """

    frames: int
    error: str | None
    size: int = 0
    mtime_ns: int = 0


def count_frames(job: CountJob) -> Counted:
    """Count by the packets, where these are the frames, and decode the first one."""
    reader = VideoFileReader(job.root, job.frame_rate, decode_timeout=job.decode_timeout)
    try:
        path = reader.find(job.root / job.path)
        version = version_of(path)
        frames = watched(path, job.decode_timeout, lambda: _readable_frames(reader, path))
    except (VideoError, OSError) as error:
        return Counted(0, str(error))
    return Counted(frames, None, version.size, version.mtime_ns)


def _readable_frames(reader: VideoFileReader, path: Path) -> int:
    video = reader.open(path)
    frames = video.num_frames
    for _ in video.read([0]):
        pass
    video.check_end()
    return frames


def count_all(
    jobs: Sequence[CountJob], kept: Path, *, workers: int, display: ProgressDisplay
) -> tuple[dict[str, Counted], int]:
    """Count the videos that no earlier run counted, or that were changed since.

    Args:
        jobs: the videos.
        kept: file of what was counted, a line a video, which grows while videos are counted. A
            video that could not be read is tried again.
        workers: processes, see `WorkerPool`.
        display: progress.

    Returns:
        the counts by path, and how many of them are of earlier runs.
    """
    known = _read_kept(kept)
    results: dict[str, Counted] = {}
    for job in jobs:
        before = known.get((job.path, job.frame_rate))
        if before is not None and _is_unchanged(job, before):
            results[job.path] = before
    pending = [job for job in jobs if job.path not in results]
    there = len(results)
    if not pending:
        return results, there
    failed = 0
    with (
        kept.open("a", encoding="utf-8") as file,
        WorkerPool(min(workers, len(pending))) as pool,
        display.part("count frames", len(jobs)) as progress,
    ):
        if file.tell():
            file.write("\n")  # behind a line that a kill may have torn apart
        if there:
            progress.found_done(there, "counted before")
        for job, counted in pool.run(count_frames, pending):
            results[job.path] = counted
            failed += counted.error is not None
            if counted.error is None:
                row = (job.path, counted.size, counted.mtime_ns, job.frame_rate, counted.frames)
                file.write(json.dumps(row) + "\n")
                file.flush()
            progress.advance(f"{failed} unreadable" if failed else None)
    return results, there


def _is_unchanged(job: CountJob, before: Counted) -> bool:
    try:
        now = version_of(job.root / job.path)
    except OSError:
        return False
    return (now.size, now.mtime_ns) == (before.size, before.mtime_ns)


def _read_kept(path: Path) -> dict[tuple[str, float | None], Counted]:
    """By path and frame rate; lines that a kill tore apart are counted anew."""
    known = {}
    lines = (
        path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ()
    )
    for line in lines:
        try:
            name, size, mtime_ns, frame_rate, frames = json.loads(line)
            known[str(name), frame_rate] = Counted(int(frames), None, int(size), int(mtime_ns))
        except (ValueError, TypeError):
            continue
    return known
