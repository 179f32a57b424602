"""An evaluation as a person reads it: two tables, in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adafocus_env.files import atomic_path


def write_report(result: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Print the tables and write `evaluate.md`.

    Args:
        result: what `evaluate.json` holds.
        folder: where to write.
        console: where to print.
    """
    (policy,) = result["policies"]
    title = f"{policy['name']}: {result['videos']} videos, split {result['split']}"
    notes = [_cost(policy), *_notes(result, policy)]
    tables = [(title, _summary(result, policy)), ("after each frame", _steps(result, policy))]
    for heading, rows in tables:
        console.print(_rich_table(heading, rows))
    console.print("")
    for note in notes:
        console.print(note, highlight=False, markup=False)
    lines = ["# Evaluate"]
    for heading, rows in tables:
        lines += ["", f"## {heading[0].upper()}{heading[1:]}", "", *_markdown_table(rows)]
    lines += ["", *[f"- {note}" for note in notes]]
    with atomic_path(folder / "evaluate.md") as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _summary(result: Mapping[str, Any], policy: Mapping[str, Any]) -> list[list[str]]:
    """Head and one row."""
    low, high = policy["top1_ci95"]
    cells = {
        "top-1": f"{policy['top1']:.4f}",
        "95 % of it": f"{low:.3f} to {high:.3f}",
        _top5_name(result): f"{policy['top5']:.4f}",
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
    return [list(cells), list(cells.values())]


def _steps(result: Mapping[str, Any], policy: Mapping[str, Any]) -> list[list[str]]:
    """Head and one row for each step."""
    names = ("top1_per_step", "top5_per_step", "map_per_step")
    rows = zip(*(policy[name] for name in names), strict=True)
    return [
        ["frames", "top-1", _top5_name(result), "mAP"],
        *[[str(t), *(f"{value:.4f}" for value in row)] for t, row in enumerate(rows, start=1)],
    ]


def _top5_name(result: Mapping[str, Any]) -> str:
    """With fewer than five classes it is another number, always 1."""
    return f"top-{min(5, result['classes'])}"


def _cost(policy: Mapping[str, Any]) -> str:
    parts = " + ".join(f"{part} {value:.4g}" for part, value in policy["gmacs_by_part"].items())
    return f"{parts} = {policy['gmacs_per_video']:.4g} G multiply-adds per video"


def _notes(result: Mapping[str, Any], policy: Mapping[str, Any]) -> list[str]:
    """What the numbers are of, and what they leave out."""
    missing, classes = policy["map_missing_classes"], result["classes"]
    labels = "all labels" if result["map_labels"] == "all" else "the first label"
    notes = [
        f"policy {policy['name']}"
        + (f", mean of {policy['num_draws']} draws" if policy["num_draws"] > 1 else "")
        + f"; logits after the last frame; mAP by the {result['map_rule']} rule over {labels}"
    ]
    notes.append(
        f"executed here: {policy['gmacs_executed_per_video']:.4g} G multiply-adds per video, what "
        "rewards need included"
    )
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


def _rich_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=f"\n{title}", box=None, pad_edge=False, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return ["| " + " | ".join(row) + " |" for row in (head, ["---:"] * len(head), *body)]
