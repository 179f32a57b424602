"""`adafocus check-data`: what in a data set would break training, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from adafocus_env.data import BUILT_IN, DataFiles, find_files
from adafocus_env.data.lists.list_files import ListContents
from adafocus_env.data.media.packet_index import INDEX_FOLDER
from adafocus_env.files import write_json
from train.config.keys import ConfigError
from train.config.tools import CheckDataConfig
from train.data_tools.check_copies import find_copies
from train.data_tools.check_lists import Findings, check_lists
from train.data_tools.check_videos import VideoCheck, VideoJob, check_video
from train.data_tools.worker_pool import run_all
from train.runs.progress import ProgressDisplay

REPORT_FILE = "check_data.json"
_LINES_SHOWN = 50


def run_check_data(config: CheckDataConfig, display: ProgressDisplay) -> None:
    """Check lists, class file and every frame; print a table and write a report.

    Raises:
        ConfigError: something would break training; the report has a line for each problem.
    """
    if config.data_dir is None and config.dataset in BUILT_IN:
        raise ConfigError(
            "the built-in videos are drawn in memory: there is nothing to check; name a folder "
            "with data_dir="
        )
    files = find_files(
        config.dataset,
        data_dir=config.data_dir,
        lists=config.lists,
        media=config.media,
        frame_rate=config.frame_rate,
        decode_timeout=config.decode_timeout,
        index_folder=config.output_dir / INDEX_FOLDER,
    )
    findings = Findings()
    contents = check_lists(files, findings)
    checks: dict[VideoJob, VideoCheck] = {}
    if files.root.is_dir():
        checks = _check_videos(config, files, contents, display)
        if config.copies:
            findings.warnings += find_copies(files, contents)
    else:
        findings.errors.append(f"{files.root} does not exist; it holds the {files.media}")
    for job, check in sorted(checks.items(), key=lambda item: (item[0].split, item[0].record.line)):
        place = f"{files.list_file(job.split)}:{job.record.line}: "
        findings.errors += [place + check.error] if check.error else []
        findings.warnings += [place + check.warning] if check.warning else []
    if not findings.errors:
        findings.errors += _opening_errors(config, contents)
    summary = {split: _summary(split, contents[split], checks) for split in contents}
    _show(summary, findings, display.console)
    hidden = _hidden(config, checks)
    for line in _hidden_lines(hidden):
        display.say(line)
    _write(config, files, summary, findings, hidden)
    if findings.errors:
        raise ConfigError(
            f"problems that would break training: {len(findings.errors)}; all of them are in "
            f"{config.output_dir / REPORT_FILE}"
        )
    display.say(f"nothing would break training; {config.output_dir / REPORT_FILE}")


def _check_videos(
    config: CheckDataConfig,
    files: DataFiles,
    contents: Mapping[str, ListContents],
    display: ProgressDisplay,
) -> dict[VideoJob, VideoCheck]:
    """Decode all videos; say before how long it will take."""
    resized = config.crop and config.dataset != "glyphs"
    side = None if resized else config.frame_size
    jobs = [
        VideoJob(files, split, record, side)
        for split, content in contents.items()
        for record in content.records
    ]

    def estimate(done: Mapping[VideoJob, VideoCheck], rest: Sequence[VideoJob]) -> None:
        seconds = sum(check.seconds for check in done.values()) / _frames(list(done))
        processes = max(1, config.num_workers)
        display.console.print(
            f"every frame of {len(jobs)} videos is decoded: about "
            f"{seconds * _frames(rest) / processes / 60:.1f} minutes with {processes} processes "
            "(num_workers=)"
        )

    return run_all(
        check_video,
        jobs,
        workers=config.num_workers,
        display=display,
        title="check videos",
        estimate=estimate,
    )


def _frames(jobs: Sequence[VideoJob]) -> int:
    return sum(job.record.num_frames for job in jobs)


def _opening_errors(config: CheckDataConfig, contents: Mapping[str, ListContents]) -> list[str]:
    """What else keeps training from opening the splits, such as targets of other videos."""
    from train.config.builders import open_split  # imports torch

    errors = []
    for split in contents:
        try:
            open_split(config, split, training=split == "train", num_frames=config.num_frames)
        except (ValueError, OSError) as error:
            errors.append(str(error))
    return errors


def _summary(
    split: str, content: ListContents, checks: Mapping[VideoJob, VideoCheck]
) -> dict[str, int]:
    found = [check for job, check in checks.items() if job.split == split]
    return {
        "videos": len(content.records),
        "frames": sum(record.num_frames for record in content.records),
        "classes": len({label for record in content.records for label in record.labels}),
        "bad_lines": len(content.problems),
        "short_videos": content.num_short,
        "unreadable_videos": sum(check.error is not None for check in found),
        "bytes": sum(check.num_bytes for check in found),
    }


def _hidden(config: CheckDataConfig, checks: Mapping[VideoJob, VideoCheck]) -> list[dict[str, Any]]:
    """Sizes of frames, the share of them that no clip of evaluation shows, and how many have it."""
    sizes = Counter(check.size for check in checks.values() if check.size is not None)
    if config.dataset == "glyphs" or not sizes:
        return []
    from train.config.builders import video_options  # imports torch

    options = video_options(config, training=False, num_frames=config.num_frames)
    return [
        {
            "size": f"{width}x{height}",
            "videos": count,
            "share": round(1 - options.transform.shown_share(height, width), 4),
        }
        for (height, width), count in sizes.most_common()
    ]


def _hidden_lines(hidden: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the user should know of the crop; nothing where it shows all."""
    videos = sum(one["videos"] for one in hidden)
    lost = sum(one["share"] * one["videos"] for one in hidden)
    if not lost:
        return []
    lines = [
        f"  {one['share']:.0%} of {one['size']} ({one['videos']} videos)"
        for one in hidden[:_LINES_SHOWN]
    ]
    return [
        f"fit=crop never shows {lost / videos:.0%} of the frames in evaluation; fit=squash and "
        "fit=pad show all of them:",
        *lines,
    ]


def _show(summary: Mapping[str, Mapping[str, int]], findings: Findings, console: Console) -> None:
    table = Table()
    table.add_column("split")
    for column in ("videos", "frames", "classes", "bad lines", "short", "broken", "size"):
        table.add_column(column, justify="right")
    for split, values in summary.items():
        *counts, size = values.values()
        table.add_row(split, *(f"{count:,}" for count in counts), decimal(size))
    console.print(table)
    for kind, lines in (("warning", findings.warnings), ("error", findings.errors)):
        for line in lines[:_LINES_SHOWN]:
            console.print(f"{kind}: {line}", markup=False, highlight=False, soft_wrap=True)
        if len(lines) > _LINES_SHOWN:
            console.print(f"{kind}: {len(lines) - _LINES_SHOWN} more in {REPORT_FILE}")


def _write(
    config: CheckDataConfig,
    files: DataFiles,
    summary: Mapping[str, Mapping[str, int]],
    findings: Findings,
    hidden: Sequence[Mapping[str, Any]],
) -> None:
    report = {
        "dataset": config.dataset,
        "data_dir": str(Path(files.data_dir).absolute()),
        "media": files.media,
        "frame_rate": files.frame_rate,
        "splits": summary,
        "hidden": hidden,
        "errors": findings.errors,
        "warnings": findings.warnings,
    }
    write_json(config.output_dir / REPORT_FILE, report)
