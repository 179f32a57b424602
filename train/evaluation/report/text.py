"""A benchmark as a person reads it: terminal tables, Markdown, CSV, figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adafocus_env.files import atomic_path
from agents.evaluation import Evaluation
from train.evaluation.report.figures import CAPTIONS, write_figures
from train.evaluation.report.tables import (
    LEGEND,
    TextTable,
    comparison_tables,
    context_line,
    result_tables,
    warnings,
)


def write_report(
    result: Mapping[str, Any], folder: Path, console: Console, *, brief: bool = False
) -> None:
    """Print the tables and write `benchmark.md` and the figures.

    Args:
        result: what `benchmark.json` holds.
        folder: where to write.
        console: where to print.
        brief: print no more than rewards and accuracies, and warnings.
    """
    tables, more, warned = result_tables(result), comparison_tables(result), warnings(result)
    learned = {policy["name"] for policy in result["policies"] if policy["learned"]}
    for table in tables if brief else [*tables, *more]:
        console.print(_rich_table(table, learned))
    for line in warned:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False)
    lines = ["# Benchmark", "", context_line(result), ""]
    lines += [f"**Warning:** {line}\n" for line in warned]
    for table in tables:
        lines += _markdown(table)
    lines += [LEGEND, ""]
    for table in more:
        lines += _markdown(table)
    for name, caption in CAPTIONS.items():
        lines += [f"![{name.removesuffix('.png').replace('_', ' ')}]({name})", "", caption, ""]
    with atomic_path(folder / "benchmark.md") as part:
        part.write_text("\n".join(lines), encoding="utf-8")
    write_figures(result, folder)


# Longer names take several lines in the terminal.
_NAME_WIDTH = 14

_CSV_HEAD = (
    *("policy", "video", "draw", "label", "prediction", "correct", "confidence"),
    *("return", "rewards", "tops", "lefts", "focused"),
)


def write_csv(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """One line for each policy, video and draw; of several checkpoints each is a draw.

    `correct`, `prediction` and `confidence` (of the true class) are those after the last frame;
    `rewards`, `tops` and `lefts` (corner of the patch in pixels; 0 in skipped frames) and `focused`
    (0 in skipped frames) have an entry a frame, parted by spaces.

    Args:
        evaluations: by policy.
        path: the file.
    """
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_CSV_HEAD)
        for name, evaluation in evaluations.items():
            predicted = evaluation.logits[:, -1].argmax(axis=1)
            for i, label in enumerate(evaluation.label.tolist()):
                rewards = evaluation.rewards[i]
                tops, lefts = evaluation.boxes[i, :, 0], evaluation.boxes[i, :, 1]
                focused = evaluation.focused()[i].astype(int)
                writer.writerow(
                    [
                        name,
                        int(evaluation.video_index[i]),
                        int(evaluation.draw[i]),
                        label,
                        int(predicted[i]),
                        int(predicted[i] == label),
                        f"{evaluation.confidences[i, -1]:.6f}",
                        f"{rewards.sum():.6f}",
                        " ".join(np.char.mod("%.6f", rewards)),
                        *(" ".join(map(str, side.tolist())) for side in (tops, lefts, focused)),
                    ]
                )


def _rich_table(table: TextTable, learned: set[str]) -> Table:
    drawn = Table(title=f"\n{table.title}", box=None, pad_edge=False, title_justify="left")
    shown = [i for i, name in enumerate(table.head) if name not in table.too_wide]
    for i in shown:
        left = i == 0 or "%" in table.head[i]
        # A long name may take two lines; a number must stay whole.
        names = max((len(row[0]) for row in table.rows), default=0)
        drawn.add_column(
            table.head[i].strip(),
            justify="left" if left else "right",
            no_wrap=i > 0,
            overflow="fold",
            min_width=min(names, _NAME_WIDTH) if i == 0 else None,
        )
    for row in table.rows:
        style = "bold green" if row[0] in learned else None
        drawn.add_row(*(escape(row[i]) for i in shown), style=style)
    return drawn


def _markdown(table: TextTable) -> list[str]:
    rows = [table.head, ["---"] + ["---:"] * (len(table.head) - 1), *table.rows]
    lines = [f"## {table.title}", ""]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return [*lines, "", *([table.note, ""] if table.note else [])]


def _cell(text: str) -> str:
    """Text that does not end its cell."""
    return text.strip().replace("|", "\\|")
