"""What `closed_loop.py` has found, as `results.json`, a table and a figure."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adafocus_env.files import write_json
from agents.baselines.searching import RandomDiscs
from agents.evaluation import evaluate_agent, on_target
from train.evaluation.report.tables import interval, short

Found = Mapping[str, Any]
RESULTS = "results.json"
# Okabe and Ito's colours, which the colour-blind tell apart; marks and dashes say it once more.
_STYLES = {
    "closed": ("#0072B2", "-", "o"),
    "open": ("#D55E00", "--", "s"),
    "imitation": ("#CC79A7", ":", "D"),
    "no_patch": ("#009E73", "-.", "^"),
}
_REFERENCES = {"expert": "#000000", "random_discs": "#777777", "random": "#BBBBBB"}
_COLUMNS = 3


def machine() -> dict[str, Any]:
    """What all this ran on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def digit_seen(bank: Path) -> dict[str, float]:
    """`glyphs_search`: mean log-likelihood after looks before the digit was seen, and from then on.

    Args:
        bank: whose test pictures random discs are looked at in.
    """
    env: Any = gymnasium.make_vec(
        "AdaFocus/ActiveVision-v0",
        num_envs=100,
        dataset="glyphs_search",
        split="test",
        looks_per_frame=6,
        features=f"bank:{bank}",
        autoreset_mode="disabled",
    ).unwrapped
    played = evaluate_agent(env, RandomDiscs(env.core))
    hits = on_target(played, env.core.source.videos)
    assert hits is not None
    seen, values = hits.cumsum(axis=1) > 0, played.log_likelihoods()
    return {"before": float(values[~seen].mean()), "after": float(values[seen].mean())}


def write_results(found: Mapping[str, Found], folder: Path) -> None:
    """Write `results.json`, `table.md` and `closed_loop.png`.

    Args:
        found: of each task what `Study.measure` gives.
        folder: where to.
    """
    write_json(folder / RESULTS, dict(found))
    lines = ["| task | policy | top-1 | return | looks | closed above it in top-1 |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, task in found.items():
        lines += [f"| `{name}` | {' | '.join(cells)} |" for cells in _rows(task)]
    for name, task in found.items():
        if "stopping" in task:
            lines += ["", _stopping_line(name, task)]
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figure = _figure(found)
    figure.savefig(folder / "closed_loop.png", dpi=110)
    print("\n".join(lines))


def _rows(task: Found) -> Iterator[list[str]]:
    """The cells of each policy, all but the first."""
    policies = task["test"]["policies"]
    for policy in policies:
        above = policies[0]["differences"].get(policy["name"])
        yield [
            f"`{policy['name']}`",
            _top1(policy),
            short(policy["return_mean"], 2),
            f"{policy['kept_share'] * task['test']['num_frames']:.2f}",
            "" if above is None else _difference(above, "top1"),
        ]


def _top1(policy: Found) -> str:
    """Of each seed."""
    seeds = policy["over_seeds"]
    values = seeds["top1"]["values"] if seeds else [policy["top1"]]
    return " ".join(short(value, 3) for value in values)


def _difference(found: Found, name: str) -> str:
    return f"{short(found[name]['mean'], 3)} {interval(found[name]['ci95'], 3)}"


def _stopping_line(name: str, task: Found) -> str:
    """Learned stopping and the threshold, in words."""
    learned, _, until = task["stopping"]["policies"]
    found, steps = learned["differences"][until["name"]], task["stopping"]["num_frames"]
    parts = []
    for policy in (learned, until):
        looks = " ".join(f"{seed['kept_share'] * steps:.2f}" for seed in policy["per_seed"])
        parts.append(f"`{policy['name']}`: {looks} looks, top-1 {_top1(policy)}")
    return (
        f"`{name}`, a look costs {task['look_cost']}. {'; '.join(parts)}. Learned less threshold: "
        f"log-likelihood {_difference(found, 'log_likelihood')}, return "
        f"{_difference(found, 'return')}, top-1 {_difference(found, 'top1')}."
    )


def _figure(found: Mapping[str, Found]) -> Figure:
    """A panel for each task, and one more for each in which stopping was learned."""
    stopping = [name for name, task in found.items() if "stopping" in task]
    panels = [(name, _draw_looks) for name in found]
    panels += [(name, _draw_stopping) for name in stopping]
    columns = min(len(panels), _COLUMNS)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.9 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, draw) in zip(grid.flat, panels, strict=False):
        draw(axes, found[name])
        axes.set_title(name + (": when to stop" if draw is _draw_stopping else ""), fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.17), ncols=2)
    return figure


def _draw_looks(axes: Axes, task: Found) -> None:
    """Top-1 after each look: a thin line a seed, a thick one for their mean."""
    for policy in task["test"]["policies"]:
        name, steps = policy["name"], range(1, task["test"]["num_frames"] + 1)
        mean = policy["top1_per_step"]
        if name in _STYLES:
            color, dash, mark = _STYLES[name]
            for seed in policy["per_seed"]:
                axes.plot(steps, seed["top1_per_step"], color=color, linewidth=0.7, alpha=0.6)
            look = {"color": color, "linestyle": dash, "marker": mark, "markersize": 4}
            axes.plot(steps, mean, label=name, **look)
        elif name in _REFERENCES:
            axes.plot(steps, mean, color=_REFERENCES[name], linestyle=(0, (1, 1)), label=name)
    axes.set_xlabel("looks (thin lines: seeds)")
    axes.set_ylabel("top-1")
    axes.set_ylim(0.0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_stopping(axes: Axes, task: Found) -> None:
    """Log-likelihood against mean looks: the threshold's curve, and those who learned to stop."""
    learned, closed, until = task["stopping"]["policies"]
    color, _, mark = _STYLES["closed"]
    for number, seed in enumerate(closed["per_seed"]):
        points = sorted((p["mean_frames"], p["log_likelihood"]) for p in seed["belief_exit"])
        label = "threshold on the belief" if number == 0 else None
        axes.plot(*zip(*points, strict=True), "-", color=color, linewidth=0.9, label=label)
    steps = task["stopping"]["num_frames"]
    for policy, name, shade, mark in (
        (until, f"threshold {task['threshold']['belief']:g}, from val", color, "o"),
        (learned, f"learned, {task['look_cost']} a look", "#D55E00", "*"),
    ):
        points = [(s["kept_share"] * steps, s["log_likelihood"]) for s in policy["per_seed"]]
        axes.scatter(*zip(*points, strict=True), color=shade, marker=mark, label=name, zorder=3)
    axes.set_xlabel("mean looks")
    axes.set_ylabel("log-likelihood, nats")
