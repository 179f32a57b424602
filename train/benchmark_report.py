"""A benchmark as a person reads it: terminal table, Markdown, accuracy-per-step figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_COLUMNS = ("policy", "reward/step", "return", "top-1", "mAP", "on target", "G mult-adds")


def write_report(
    result: Mapping[str, Any], folder: Path, console: Console, *, name: str = "benchmark"
) -> None:
    """Print the tables and write `NAME.md` and `accuracy_per_step.png`.

    Args:
        result: what `benchmark.json` holds.
        folder: where to write.
        console: where to print.
        name: stem of the Markdown file.
    """
    tables = {_own_title(result): result["policies"]}
    if "policies_same_classifier" in result:
        tables["All with the same (stage-1) classifier"] = result["policies_same_classifier"]
    lines = [f"# {name.capitalize()}", "", _context(result), ""]
    for title, policies in tables.items():
        console.print(_rich_table(title, policies))
        lines += [f"## {title}", "", *_markdown_table(policies), ""]
    lines += [_LEGEND, "", "![accuracy per time step](accuracy_per_step.png)", ""]
    (folder / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")
    _draw_accuracy_per_step(result["policies"], folder / "accuracy_per_step.png")


_LEGEND = (
    "Reward and return are measured with the one recognizer common to all policies; brackets are "
    "95 % bootstrap intervals over videos. Rates are fractions. The greedy oracle knows the label "
    "and tries every position."
)


def _context(result: Mapping[str, Any]) -> str:
    sha = result["recognizer_sha256"][:12]
    return (
        f"{result['videos']} videos of the split `{result['split']}`, seed {result['seed']}, "
        f"recognizer `{sha}`."
    )


def _own_title(result: Mapping[str, Any]) -> str:
    if any(policy["classifier"] == "own" for policy in result["policies"]):
        return "Each with its own stage-3 classifier"
    return "Results"


def _cells(policy: Mapping[str, Any]) -> list[str]:
    on_target = policy["on_target"]
    return [
        policy["name"],
        f"{policy['reward_mean']:+.4f} {_interval(policy['reward_ci95'], '+.4f')}",
        f"{policy['return_mean']:+.3f}",
        f"{policy['top1']:.3f} {_interval(policy['top1_ci95'], '.3f')}",
        f"{policy['map']:.3f}",
        "unknown" if on_target is None else f"{on_target:.2f}",
        f"{policy['gmacs_per_video']:.3f}",
    ]


def _interval(bounds: Sequence[float], form: str) -> str:
    return f"[{bounds[0]:{form}}, {bounds[1]:{form}}]"


def _rich_table(title: str, policies: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "policy" else "right")
    for policy in policies:
        cells = [cell.replace("[", r"\[") for cell in _cells(policy)]
        table.add_row(*cells, style="bold green" if policy["name"] == "learned" else None)
    return table


def _markdown_table(policies: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [list(_COLUMNS), ["---"] + ["---:"] * (len(_COLUMNS) - 1)]
    rows += [_cells(policy) for policy in policies]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _draw_accuracy_per_step(policies: Sequence[Mapping[str, Any]], path: Path) -> None:
    # Imported here: matplotlib is slow to import and only this function draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for policy in policies:
        steps = range(1, len(policy["top1_per_step"]) + 1)
        style = "--" if policy["name"] == "greedy_oracle" else "-"
        axes.plot(steps, policy["top1_per_step"], style, marker="o", label=policy["name"])
    axes.set_xlabel("frames looked at")
    axes.set_ylabel("top-1 accuracy")
    axes.set_ylim(0.0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
