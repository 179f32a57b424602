"""A benchmark or an evaluation as a person reads it: terminal, Markdown, CSV."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
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
        console.print(_rich_table(table, console.width, learned))
    if result["verdict"] is not None:
        console.print(f"\n{result['verdict']}", markup=False, highlight=False)
    for line in warned:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False)
    lines = ["# Benchmark", "", context_line(result), ""]
    lines += [] if result["verdict"] is None else [result["verdict"], ""]
    lines += [f"**Warning:** {line}\n" for line in warned]
    for table in tables:
        lines += _markdown(table)
    lines += [LEGEND, ""]
    for table in more:
        lines += _markdown(table)
    for name, caption in CAPTIONS.items():
        lines += [f"![{name.removesuffix('.png').replace('_', ' ')}]({name})", "", caption, ""]
    _write(folder / "benchmark.md", lines)
    write_figures(result, folder)


def write_evaluation(result: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Print the tables of an evaluation and write `evaluate.md`.

    Args:
        result: what `evaluate.json` holds.
        folder: where to write.
        console: where to print.
    """
    tables, notes = _evaluation_tables(result), _evaluation_notes(result)
    for table in tables:
        console.print(_rich_table(table, console.width))
    console.print("")
    for note in notes:
        console.print(note, highlight=False, markup=False)
    lines = ["# Evaluate", ""]
    for table in tables:
        lines += _markdown(table)
    _write(folder / "evaluate.md", [*lines, *[f"- {note}" for note in notes], ""])


def _evaluation_tables(result: Mapping[str, Any]) -> list[TextTable]:
    """Of the one policy of `evaluate`: the result, and that after each frame."""
    (policy,) = result["policies"]
    low, high = policy["top1_ci95"]
    # With fewer than five classes it is another number, always 1.
    top5 = f"top-{min(5, result['classes'])}"
    cells = {
        "top-1": f"{policy['top1']:.4f}",
        "95 % of it": f"{low:.3f} to {high:.3f}",
        top5: f"{policy['top5']:.4f}",
        "mAP": f"{policy['map']:.4f}",
        "GMACs": f"{policy['gmacs_per_video']:.4g}",
        "videos/s": f"{result['videos_per_second']:.1f}",
    }
    if result["reward"] is not None:
        cells["reward"] = f"{policy['reward_mean']:.4f}"
    if policy["kept_share"] < 1.0:
        cells["focused"] = f"{policy['kept_share']:.3f}"
    if policy["on_target"] is not None:
        cells["target"] = f"{policy['on_target']:.2f}"
    title = f"{policy['name']}: {result['videos']} videos, split {result['split']}"
    names = ("top1_per_step", "top5_per_step", "map_per_step")
    steps = [
        [str(t), *(f"{value:.4f}" for value in values)]
        for t, values in enumerate(zip(*(policy[name] for name in names), strict=True), start=1)
    ]
    return [
        TextTable(title, list(cells), [list(cells.values())], named=False),
        TextTable("After each frame", ["frames", "top-1", top5, "mAP"], steps, named=False),
    ]


def _evaluation_notes(result: Mapping[str, Any]) -> list[str]:
    """What the numbers are of, and what they leave out."""
    (policy,) = result["policies"]
    missing, classes = policy["map_missing_classes"], result["classes"]
    labels = "all labels" if result["map_labels"] == "all" else "the first label"
    parts = " + ".join(f"{part} {value:.4g}" for part, value in policy["gmacs_by_part"].items())
    notes = [
        f"{parts} = {policy['gmacs_per_video']:.4g} G multiply-adds per video",
        f"policy {policy['name']}"
        + (f", mean of {policy['num_draws']} draws" if policy["num_draws"] > 1 else "")
        + f"; logits after the last frame; mAP by the {result['map_rule']} rule over {labels}",
        f"executed here: {policy['gmacs_executed_per_video']:.4g} G multiply-adds per video, what "
        "rewards need included",
    ]
    if policy["kept_share"] < 1.0:
        notes.append(f"{policy['kept_share']:.1%} of the frames were focused on, the rest skipped")
    if policy["name"] == "random_offsets":
        notes.append("random_offsets: patches at random pixels, as stage 1 is validated")
    if missing and result["map_rule"] == "standard":
        notes.append(f"{missing} of {classes} classes have no video and are left out of the mAP")
    elif missing:
        notes.append(
            f"{missing} of {classes} classes have no video; the published rule counts as many as 0 "
            "and judges higher ones by a wrong column"
        )
    seen = "decoding included" if result["features"] == "live" else f"on {result['features']}"
    notes.append(f"{result['seconds']:.1f} s on {result['device']}, {seen}")
    return notes


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


def _rich_table(table: TextTable, width: int, learned: Collection[str] = ()) -> Table:
    drawn = Table(title=f"\n{table.title}", box=None, pad_edge=False, title_justify="left")
    possible = [i for i, name in enumerate(table.head) if name not in table.too_wide]
    shown = _fitting(table, possible, width)
    if shown != possible:
        missing = ", ".join(table.head[i].strip() for i in possible if i not in shown)
        drawn.caption = escape(f"no room for {missing}: the report has them")
        drawn.caption_justify = "left"
    # A long name may take two lines; a number must stay whole.
    names = max((len(row[0]) for row in table.rows), default=0)
    for i in shown:
        named = i == 0 and table.named
        drawn.add_column(
            table.head[i].strip(),
            justify="left" if named or "%" in table.head[i] else "right",
            no_wrap=not named,
            overflow="fold",
            min_width=min(names, _NAME_WIDTH) if named else None,
        )
    for row in table.rows:
        style = "bold green" if row[0] in learned else None
        drawn.add_row(*(escape(row[i]) for i in shown), style=style)
    return drawn


def _fitting(table: TextTable, possible: Sequence[int], width: int) -> list[int]:
    """The columns that a line has room for: intervals go first, then the last ones."""
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    if table.named:
        widths[0] = min(widths[0], _NAME_WIDTH)
    shown = list(possible)
    while len(shown) > 1 and sum(widths[i] + 2 for i in shown) - 2 > width:
        intervals = [i for i in shown[1:] if "%" in table.head[i]]
        shown.remove((intervals or shown)[-1])
    return shown


def _markdown(table: TextTable) -> list[str]:
    rule = ["---" if i == 0 and table.named else "---:" for i in range(len(table.head))]
    lines = [f"## {table.title}", ""]
    lines += [
        "| " + " | ".join(_cell(cell) for cell in row) + " |"
        for row in (table.head, rule, *table.rows)
    ]
    return [*lines, "", *([table.note, ""] if table.note else [])]


def _cell(text: str) -> str:
    """Text that does not end its cell."""
    return text.strip().replace("|", "\\|")


def _write(path: Path, lines: Sequence[str]) -> None:
    with atomic_path(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")
