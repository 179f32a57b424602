"""A benchmark as a person reads it: terminal table, Markdown, accuracy-per-step figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Column -> its text for one policy.
_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "policy": lambda policy: str(policy["name"]),
    "reward": lambda policy: _short(policy["reward_mean"], 4),
    "95 % of it": lambda policy: _interval(policy["reward_ci95"], 3),
    "return": lambda policy: _short(policy["return_mean"], 2),
    "top-1": lambda policy: _short(policy["top1"], 3),
    "95 %": lambda policy: _interval(policy["top1_ci95"], 2),
    "mAP": lambda policy: _short(policy["map"], 3),
    "target": lambda policy: _short(policy["on_target"], 2),
    "GMACs": lambda policy: _short(policy["gmacs_per_video"], 3),
}
_NOT_IN_TERMINAL = ("return",)  # for 80 columns; it is T times the reward


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
    "95 % bootstrap intervals over videos; rates are fractions; GMACs are 10^9 multiply-adds a "
    "video; target is the share of frames whose patch holds the target's centre. The greedy oracle "
    "knows the label, tries every position, and has no classifier of its own."
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


def _short(value: float | None, digits: int) -> str:
    """A number without the zero before its point; `?` where it is not known."""
    if value is None:
        return "?"
    text = f"{value:.{digits}f}"
    return (
        text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0") else text
    )


def _interval(bounds: Sequence[float], digits: int) -> str:
    return f"[{_short(bounds[0], digits)} {_short(bounds[1], digits)}]"


def _rich_table(title: str, policies: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=f"\n{title}", box=None, pad_edge=False, title_justify="left")
    shown = [name for name in _COLUMNS if name not in _NOT_IN_TERMINAL]
    for name in shown:
        left = name == "policy" or "%" in name
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for policy in policies:
        cells = [escape(_COLUMNS[name](policy)) for name in shown]
        table.add_row(*cells, style="bold green" if policy["name"] == "learned" else None)
    return table


def _markdown_table(policies: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [list(_COLUMNS), ["---"] + ["---:"] * (len(_COLUMNS) - 1)]
    rows += [[cell(policy) for cell in _COLUMNS.values()] for policy in policies]
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
