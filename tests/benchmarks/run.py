"""`make benchmark`: our way against another, as ratios; a table and `outputs/benchmark/speed.json`.

usage: python tests/benchmarks/run.py [ROW ...] [--repeats N] [--threads 1 2]

On one and on two threads, unless told otherwise.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import gymnasium
import stable_baselines3
import torch
from rich.console import Console
from rich.table import Table

from adafocus_env.files import write_json
from timing import Timings, Way, compare, paired_ratio

TARGET = Path("outputs/benchmark/speed.json")


@dataclass(frozen=True)
class Comparison:
    """Two tasks of `tasks.TASKS` that do the same work.

    Attributes:
        name: of the row.
        slow: task of the other way.
        fast: task of ours.
        dtype: that ours computes in.
        allocators: `"default"`: ours as the launcher starts it, the other way under glibc's own
            settings; `"same"`: both as the launcher starts them.
    """

    name: str
    slow: str
    fast: str
    dtype: str = "float32"
    allocators: tuple[str, ...] = ("same",)


_BOTH, _SHIPPED = ("default", "same"), ("default",)
COMPARISONS = (
    Comparison("rollout_play_vs_published", "rollout_published", "rollout_ours", allocators=_BOTH),
    # A whole step of ours, with the update, against the published rollout alone: for its memory.
    Comparison("stage2_step", "rollout_published", "update_four_videos_live", allocators=_SHIPPED),
    Comparison("predict_vs_published", "predict_published", "predict_ours", allocators=_BOTH),
    Comparison("predict_vs_published", "predict_published", "predict_ours_bf16", "bfloat16", _BOTH),
    Comparison("predict_skipping_half_vs_plain", "predict_plain", "predict_skipping"),
    Comparison("crops_batched_vs_per_image", "crops_published", "crops_ours"),
    Comparison("bank_build_full_size", "build_full_size_published", "build_full_size_ours"),
    Comparison("bank_build_builtin", "build_builtin_published", "build_builtin_ours"),
    Comparison("bank_vs_live_rewards_full_size", "rewards_live", "rewards_bank"),
    Comparison("bank_vs_live_update_full_size", "update_full_size_live", "update_full_size_bank"),
    Comparison("bank_vs_live_builtin", "update_builtin_live", "update_builtin_bank"),
    Comparison("bank_vs_live_builtin_demo", "update_builtin_demo_live", "update_builtin_demo_bank"),
    Comparison("bank_vs_live_loops_full_size", "loops_full_size_live", "loops_full_size_bank"),
    Comparison("bank_vs_live_loops_builtin", "loops_builtin_live", "loops_builtin_bank"),
    # How often a rollout on a bank costs what its policy alone does.
    *(
        Comparison(
            f"loop_rollout_vs_policy_{size}",
            f"loop_rollout_{size}_whole",
            f"loop_rollout_{size}_policy",
        )
        for size in ("full_size", "builtin")
    ),
    Comparison("update_vs_recurrent_ppo", "update_contrib", "update_gru", allocators=_BOTH),
    Comparison(
        "update_vs_recurrent_ppo_shared", "update_contrib_shared", "update_gru", allocators=_BOTH
    ),
    Comparison("collect_vs_recurrent_ppo", "rollout_contrib", "rollout_gru", allocators=_BOTH),
    Comparison(
        "collect_vs_recurrent_ppo_shared", "rollout_contrib_shared", "rollout_gru", allocators=_BOTH
    ),
    Comparison("decode_long_vs_read_through", "decode_long_through", "decode_long_ours"),
    Comparison("decode_short_vs_read_through", "decode_short_through", "decode_short_ours"),
    Comparison("count_frames", "count_through", "count_ours"),
    Comparison("file_to_class_long", "class_published", "class_ours"),
    Comparison("start_make_reset_vs_import_torch", "start_torch", "start_make"),
    Comparison("start_flops_vs_import_torch", "start_torch", "start_flops"),
    Comparison("start_help_vs_import_torch", "start_torch", "start_help"),
)


def main() -> None:
    """Measure what the command line names, or everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", nargs="*", help="names of rows; all by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    unknown = set(given.rows) - {comparison.name for comparison in COMPARISONS}
    if unknown:
        sys.exit(f"unknown rows {sorted(unknown)}; known: {[c.name for c in COMPARISONS]}")
    console = Console(width=150)
    rows = []
    for comparison in COMPARISONS:
        if not given.rows or comparison.name in given.rows:
            for row in _measure(comparison, given.threads, given.repeats):
                console.print(f"{row['name']}: {row['ratio']:.2f}x", highlight=False)
                rows.append(row)
    console.print(_table(rows))
    write_json(TARGET, {"rows": rows, "machine": _machine()})
    console.print(f"written to {TARGET}")


def _measure(comparison: Comparison, threads: list[int], repeats: int) -> Iterator[dict[str, Any]]:
    for count in threads:
        for allocator in comparison.allocators:
            slow_allocator = "kept" if allocator == "same" else "default"
            slow, fast = compare(
                [
                    Way(comparison.slow, slow_allocator, count),
                    Way(comparison.fast, "kept", count),
                ],
                repeats,
            )
            yield _row(comparison, count, allocator, slow, fast)


def _row(
    comparison: Comparison, threads: int, allocator: str, slow: Timings, fast: Timings
) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "ratio": round(paired_ratio(slow, fast), 3),
        "times_floor": _number(fast.times_floor),
        "other_times_floor": _number(slow.times_floor),
        "times_resnet_floor": _number(fast.times_resnet_floor),
        "dtype": comparison.dtype,
        "threads": threads,
        "device": "cpu",
        "allocator": allocator,
        "n": len(fast.seconds),
        "seconds": round(fast.median, 4),
        "other_seconds": round(slow.median, 4),
        "frames_per_second": round(fast.frames / fast.median, 1) if fast.frames else None,
        "added_mib": round(fast.peak_mib - fast.resident_mib),
        "other_added_mib": round(slow.peak_mib - slow.resident_mib),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _table(rows: list[dict[str, Any]]) -> Table:
    columns = ("name", "ratio", "seconds", "other_seconds", "times_floor", "dtype", "threads")
    columns += ("allocator", "frames_per_second", "added_mib", "other_added_mib")
    table = Table()
    for column in columns:
        named = column == "name"
        justify: Any = "left" if named else "right"
        table.add_column(column.replace("_", " "), justify=justify, no_wrap=named)
    for row in rows:
        table.add_row(*("" if row[c] is None else str(row[c]) for c in columns))
    return table


def _machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "pyav": av.__version__,
        "gymnasium": gymnasium.__version__,
        "stable_baselines3": stable_baselines3.__version__,
    }


main()
