"""The figures of a benchmark: accuracy and reward per frame, accuracy against cost, heat maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from adafocus_env.files import atomic_path
from agents.baselines.blind_skipping import RANDOM_SKIP, UNIFORM_SKIP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Policy = Mapping[str, Any]

METRIC_NAMES = {"top1": "top-1 accuracy", "map": "mean average precision"}
# File -> what it shows, in the order of the report.
CAPTIONS = {
    "accuracy_per_step.png": "Top-1 accuracy after each frame.",
    "accuracy_per_macs.png": (
        "Accuracy against multiply-adds: the large mark is the whole video, the dots on the line "
        "before it stop every video after so many frames; crosses are conditional exits, where "
        "each video stops when its answer is certain, and in closed loops pluses, where it stops "
        "when its largest belief reaches a threshold. Policies that skip frames have a mark for "
        "each cost of a look, joined by a line; so have frames chosen at random or evenly spread. "
        "Oracles are left out: they try everything."
    ),
    "reward_per_step.png": "Mean reward of each frame, by the recognizer common to all policies.",
    "locations.png": (
        "Where each policy looks: share of all looks at each position of the grid, as it lies in "
        "the frame. Each map has a scale of its own; its largest share is written above it."
    ),
}
_WIDTH = 6.4  # inches, of every figure, so that all have letters of one size in the report
_MAPS_IN_A_LINE = 4
_LETTERS_ABOVE_A_MAP = 20
_NAMES_IN_A_PLOT = 6  # more would hide it
_MARKERS = {RANDOM_SKIP: "v", UNIFORM_SKIP: "s"}


def write_figures(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw all figures of a benchmark.

    Args:
        result: what `benchmark.json` holds.
        folder: where to write.

    Returns:
        the files, in the order of the report.
    """
    policies = result["policies"]
    drawings: dict[str, Callable[[], Figure]] = {
        "accuracy_per_step.png": lambda: _accuracy_per_step(policies),
        "accuracy_per_macs.png": lambda: _accuracy_per_macs(policies, result["metric"]),
        "reward_per_step.png": lambda: _reward_per_step(policies),
        "locations.png": lambda: _locations(policies),
    }
    for name, draw in drawings.items():
        with atomic_path(folder / name) as part:
            draw().savefig(part, dpi=120, format="png")
    return [folder / name for name in drawings]


def _accuracy_per_step(policies: Sequence[Policy]) -> Figure:
    figure, axes = _plot("frames looked at", "top-1 accuracy")
    for policy, style in _styles(policies):
        _line(axes, policy["top1_per_step"], policy["name"], style)
    axes.set_ylim(0.0, 1.02)
    _legend(axes)
    return figure


def _reward_per_step(policies: Sequence[Policy]) -> Figure:
    figure, axes = _plot("frame", "mean reward")
    for policy, style in _styles(policies):
        _line(axes, policy["reward_per_step"], policy["name"], style)
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    _legend(axes)
    return figure


def _accuracy_per_macs(policies: Sequence[Policy], metric: str) -> Figure:
    figure, axes = _plot("G multiply-adds per video", METRIC_NAMES[metric])
    for i, (family, members) in enumerate(_families(policies).items()):
        color, marker = f"C{i % 10}", _MARKERS.get(members[0]["blind_frames"], "o")
        points = sorted((policy["gmacs_per_video"], policy[metric]) for policy in members)
        axes.plot(*_columns(points), "-", marker=marker, color=color, markersize=7, label=family)
        if len(members) == 1 and members[0]["kept_share"] == 1.0:
            spent = np.cumsum(members[0]["gmacs_per_step"])
            axes.plot(spent, members[0][f"{metric}_per_step"], ":", marker=".", color=color)
        for policy in members:
            ways = {
                "conditional exit": ("x", (policy["conditional_exit"] or {}).get("confidence")),
                "until sure": ("+", policy["belief_exit"] if metric == "top1" else None),
            }
            for way, (mark, exits) in ways.items():
                if exits:
                    x, y = _columns([(point["gmacs_per_video"], point[metric]) for point in exits])
                    label = f"{family}, {way}" if policy is members[0] else None
                    axes.plot(x, y, "--", marker=mark, color=color, markersize=4, label=label)
    _legend(axes)
    return figure


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Points as coordinates."""
    return [x for x, _ in points], [y for _, y in points]


def _families(policies: Sequence[Policy]) -> dict[str, list[Policy]]:
    """Policies that differ in how many frames they focus on alone, together: one line each."""
    families: dict[str, list[Policy]] = {}
    for policy in policies:
        if not policy["knows_label"]:
            families.setdefault(policy["family"], []).append(policy)
    return families


def _locations(policies: Sequence[Policy]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(policies), _MAPS_IN_A_LINE)
    lines = -(-len(policies) // columns)
    figure = Figure(figsize=(_WIDTH / _MAPS_IN_A_LINE * columns, 2.0 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(policies) :]:
        axes.set_axis_off()
    for axes, policy in zip(grid.flat, policies, strict=False):
        shares = np.array(policy["diagnostics"]["location_histogram"])
        axes.imshow(shares, cmap="viridis", vmin=0.0)
        axes.set_title(
            f"{fill(policy['name'], _LETTERS_ABOVE_A_MAP)}\nmost {shares.max():.0%}", fontsize=9
        )
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def _plot(x: str, y: str) -> tuple[Figure, Axes]:
    # Imported here: matplotlib is slow to import and only these functions draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _legend(axes: Axes) -> None:
    """The names of what is drawn: in the plot, or below it where they are many."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > _NAMES_IN_A_PLOT:
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.set_figheight(figure.get_figheight() + 0.2 * len(names))
        figure.legend(handles, names, loc="outside lower center", fontsize="small")
    elif names:
        axes.legend()


def _styles(policies: Sequence[Policy]) -> list[tuple[Policy, dict[str, Any]]]:
    """Each policy with its colour and mark, the same in all figures; oracles are dashed."""
    return [
        (
            policy,
            {
                "color": f"C{i % 10}",
                "marker": "os^D"[i // 10 % 4],  # after ten policies the colours begin anew
                "linestyle": "--" if policy["knows_label"] else "-",
            },
        )
        for i, policy in enumerate(policies)
    ]


def _line(axes: Axes, values: Sequence[float], name: str, style: Mapping[str, Any]) -> None:
    axes.plot(range(1, len(values) + 1), values, markersize=4, label=name, **style)
