"""Write the built-in videos as real files: mp4, list files, class file, target positions."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adafocus_env.data.glyphs.drawing import CLASS_NAMES, VIDEO_FRAMES
from adafocus_env.data.glyphs.localization import SPLITS, write_video
from adafocus_env.data.lists.dataset_files import TARGETS_FILE, VideoLists
from adafocus_env.files import naming, read_json, write_json
from adafocus_env.folders import make_folder
from train.config.keys import ConfigError
from train.config.tools import MakeVideosConfig
from train.data_tools.worker_pool import WorkerPool
from train.runs.lock import LOCK_FILE, in_use
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)

_DEFAULT_FOLDER = Path("outputs/glyphs")
_DONE_FILE = "videos.json"  # written last: what is beside it is complete
_VIDEOS_A_JOB = 25


def run_make_videos(config: MakeVideosConfig, display: ProgressDisplay) -> None:
    """Write them where `data_dir=` says."""
    folder = _DEFAULT_FOLDER if config.data_dir is None else Path(config.data_dir)
    make_videos(folder, display, workers=config.num_workers)
    display.say(f"videos, lists and class file are in {folder}")


def make_videos(data_dir: Path, display: ProgressDisplay, *, workers: int) -> None:
    """Write all three splits below `data_dir`, in the layout that `dataset=videos` reads.

    Complete videos of the same seeds are left as they are.

    Args:
        data_dir: made if missing.
        display: shows progress.
        workers: processes that draw and encode; 0 does it in this one.

    Raises:
        ConfigError: the folder holds other files.
        OSError: the disk is full or a file cannot be written.
    """
    with naming(data_dir), in_use(data_dir, "adafocus make-videos", "data_dir"):
        _make_videos(data_dir, display, workers)


def _make_videos(data_dir: Path, display: ProgressDisplay, workers: int) -> None:
    """`make_videos` in a folder that no other process writes to."""
    description = {"dataset": "glyphs", "splits": {k: list(v) for k, v in SPLITS.items()}}
    done_file = data_dir / _DONE_FILE
    if done_file.is_file() and read_json(done_file, f"delete {data_dir}") == description:
        log.info("built-in videos are in %s already", data_dir)
        return
    there = [path for path in data_dir.iterdir() if path.name != LOCK_FILE]
    if there and not (data_dir / ".incomplete").exists():
        raise ConfigError(f"{data_dir} holds other files; name an empty folder with data_dir=")
    lists = VideoLists()
    for left_over in there:
        shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
    (data_dir / ".incomplete").touch()
    (data_dir / lists.class_file).write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")
    jobs = []
    for split, (_, count) in SPLITS.items():
        folder = data_dir / lists.video_dir / split
        make_folder(folder)
        jobs += [
            (split, range(first, min(first + _VIDEOS_A_JOB, count)), folder)
            for first in range(0, count, _VIDEOS_A_JOB)
        ]
    centers = {}
    with WorkerPool(workers) as pool, display.part("make videos", len(jobs)) as progress:
        for job, result in pool.run(_write_job, jobs):
            centers[job] = result
            progress.advance()
    for split, (_, count) in SPLITS.items():
        names = [f"{split}/{index:05d}.mp4" for index in range(count)]
        lines = [f"{n},{VIDEO_FRAMES},{i % len(CLASS_NAMES)}" for i, n in enumerate(names)]
        list_file = data_dir / lists.list_file.format(split=split)
        list_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        np.save(
            data_dir / TARGETS_FILE.format(split=split),
            np.concatenate([centers[job] for job in jobs if job[0] == split]),
        )
    write_json(done_file, description)
    (data_dir / ".incomplete").unlink()


def _write_job(job: tuple[str, range, Path]) -> npt.NDArray[np.float32]:
    """Some videos of a split into a folder; returns their targets' centres `(n, 16, 2)`."""
    split, indices, folder = job
    return np.stack([write_video(split, i, folder / f"{i:05d}.mp4") for i in indices])
