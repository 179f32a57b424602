"""`adafocus extract-frames`: all videos below a folder to folders of JPEG files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.filesize import decimal

from adafocus_env.data.media.extract_frames import (
    Extracted,
    ExtractJob,
    ExtractPlan,
    ExtractSettings,
    extract_video,
    frames_extracted,
    plan_extraction,
    remove_unfinished,
)
from adafocus_env.files import write_json
from train.config.keys import ConfigError
from train.config.tools import ExtractFramesConfig
from train.data_tools.worker_pool import run_all
from train.runs.lock import in_use
from train.runs.progress import ProgressDisplay

REPORT_FILE = "extract_frames.json"
_NAMES_SHOWN = 5


def run_extract_frames(config: ExtractFramesConfig, display: ProgressDisplay) -> None:
    """Extract what is not extracted yet; write a report into the run folder.

    Raises:
        ConfigError: `source`, `target` or `height` cannot be used, the disk is too
            small, or some videos failed (the others are done then).
    """
    source, target = Path(config.need("source")), Path(config.need("target"))
    settings = ExtractSettings(_height(config.height), config.frame_rate)
    if not source.is_dir():
        raise ConfigError(f"source={source} is no folder; it holds the videos")
    with in_use(target, "adafocus extract-frames", "target"):
        try:
            plan = plan_extraction(source, target, settings, config.decode_timeout)
            jobs = plan.jobs
            there = {job: frames_extracted(job) for job in jobs}
        except ValueError as error:
            raise ConfigError(str(error)) from error
        remove_unfinished(jobs)
        pending = [job for job in jobs if there[job] is None]
        results = {job: Extracted(count) for job, count in there.items() if count is not None}
        display.say(f"videos: {len(jobs)}, extracted already: {len(results)}")
        if plan.left_out:
            display.say(_left_out(plan.left_out, source))
        results |= run_all(
            extract_video,
            pending,
            workers=config.num_workers,
            display=display,
            title="extract frames",
            estimate=lambda done, rest: _check_disk(done, rest, target, display),
        )
    _report(results, plan, source, config.output_dir, display)


def _check_disk(
    done: Mapping[ExtractJob, Extracted],
    rest: Sequence[ExtractJob],
    target: Path,
    display: ProgressDisplay,
) -> None:
    """Print how much space the rest will take, by its size as videos.

    Raises:
        ConfigError: more than there is.
    """
    good = {job: result for job, result in done.items() if result.error is None}
    if not good or not rest:
        return
    frames = sum(result.num_bytes for result in good.values())
    videos = sum(job.video.stat().st_size for job in good)
    needed = frames * sum(job.video.stat().st_size for job in rest) // videos
    free = shutil.disk_usage(target).free
    display.console.print(
        f"the frames of {len(rest)} more videos will take about {decimal(needed)}; "
        f"{decimal(free)} are free"
    )
    if needed > free:
        raise ConfigError(
            f"the frames will take about {decimal(needed)} but the disk of {target} has "
            f"{decimal(free)} free; choose another target=, a smaller height= or frame_rate=, "
            "or read the videos themselves with media=videos"
        )


def _report(
    results: dict[ExtractJob, Extracted],
    plan: ExtractPlan,
    source: Path,
    folder: Path,
    display: ProgressDisplay,
) -> None:
    """Write how many frames each video has, and which videos failed.

    Raises:
        ConfigError: some failed.
    """
    ordered = sorted(results.items(), key=lambda item: item[0].video)
    frames = {
        str(job.video.relative_to(source)): result.num_frames
        for job, result in ordered
        if result.error is None
    }
    failed = [
        {"video": str(job.video), "reason": result.error} for job, result in ordered if result.error
    ]
    leaves = f"a link that leaves {source}; bring the video into it, or make all of it a link"
    failed += [{"video": str(path), "reason": f"{path}: {leaves}"} for path in plan.outside]
    others = [str(path.relative_to(source)) for path in plan.left_out]
    write_json(folder / REPORT_FILE, {"frames": frames, "failed": failed, "left_out": others})
    display.say(f"videos whose frames are there: {len(frames)}; see {folder / REPORT_FILE}")
    stretched = [job.video for job, result in ordered if result.pixel_aspect != 1]
    if stretched:
        display.say(
            f"pixels are not square in {len(stretched)} videos, the first of them {stretched[0]}: "
            "their frames stay as they are stored, as training reads them from video files"
        )
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(results) + len(plan.outside)} videos failed, the first with: "
            f"{failed[0]['reason']}; all of them are in {folder / REPORT_FILE}"
        )


def _left_out(others: Sequence[Path], source: Path) -> str:
    """A line about files that are no videos."""
    named = ", ".join(str(path.relative_to(source)) for path in others[:_NAMES_SHOWN])
    more = ", ..." if len(others) > _NAMES_SHOWN else ""
    return f"left out, as they are no videos: {len(others)} files ({named}{more})"


def _height(value: int | str | None) -> int | None:
    """Hydra reads `none` as text."""
    if value is None or value == "none":
        return None
    if isinstance(value, str):
        raise ConfigError(f"height={value} must be a number of pixels, or none")
    return value
