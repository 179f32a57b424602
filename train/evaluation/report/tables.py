"""The tables of a benchmark as plain cells, for the terminal, Markdown and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.baselines.blind_skipping import RANDOM_SKIP, UNIFORM_SKIP
from agents.baselines.registry import BEST_FIXED, CROSS_ORACLE
from train.evaluation.diagnostics import COLLAPSE_SHARE, diagnostic_warnings

Policy = Mapping[str, Any]
Cell = Callable[[Policy], str]


@dataclass(frozen=True)
class TextTable:
    """A table.

    Attributes:
        title: above it.
        head: names of the columns.
        rows: one a policy.
        note: what the columns mean; may be empty.
        too_wide: columns that a terminal has no room for.
        named: whether the first column has names, not numbers.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""
    too_wide: tuple[str, ...] = ()
    named: bool = True


# Column -> its text for one policy.
_RESULTS: dict[str, Cell] = {
    "policy": lambda policy: str(policy["name"]),
    "reward": lambda policy: short(policy["reward_mean"], 4),
    "95 % of it": lambda policy: interval(policy["reward_ci95"], 3),
    "return": lambda policy: short(policy["return_mean"], 2),
    "top-1": lambda policy: short(policy["top1"], 3),
    "95 %": lambda policy: interval(policy["top1_ci95"], 2),
    "mAP": lambda policy: short(policy["map"], 3),
    "target": lambda policy: short(policy["on_target"], 2),
    "GMACs": lambda policy: short(policy["gmacs_per_video"], 3),
}
_TOO_WIDE = ("return",)  # it is T times the reward

_DIFFERENCES: dict[str, Cell] = {
    "policy": lambda policy: str(policy["name"]),
    "return": lambda policy: short(policy["return_mean"], 3),
    "- random": lambda policy: _difference(policy, "random"),
    "95 %": lambda policy: _difference_interval(policy, "random"),
    "- center": lambda policy: _difference(policy, "center"),
    "95 % ": lambda policy: _difference_interval(policy, "center"),
    "regret": lambda policy: short(policy["regret"]["mean"], 2) if policy["regret"] else "",
}
_CONFIDENCE: dict[str, Cell] = {
    "policy": lambda policy: str(policy["name"]),
    "conf": lambda policy: short(policy["confidence_mean"], 3),
    "- random": lambda policy: _difference(policy, "random", "confidence"),
    "95 %": lambda policy: _difference_interval(policy, "random", "confidence"),
    "- best_fixed": lambda policy: _difference(policy, BEST_FIXED, "confidence"),
    "95 % ": lambda policy: _difference_interval(policy, BEST_FIXED, "confidence"),
    "- motion": lambda policy: _difference(policy, "motion", "confidence"),
    "95 %  ": lambda policy: _difference_interval(policy, "motion", "confidence"),
}
_SKIPPING: dict[str, Cell] = {
    "policy": lambda policy: str(policy["name"]),
    "focused": lambda policy: short(policy["kept_share"], 3),
    "GMACs": lambda policy: short(policy["gmacs_per_video"], 4),
    "top-1": lambda policy: short(policy["top1"], 3),
    "conf": lambda policy: short(policy["confidence_mean"], 3),
    "- random": lambda policy: _skip_difference(policy, RANDOM_SKIP),
    "- uniform": lambda policy: _skip_difference(policy, UNIFORM_SKIP),
}
_DIAGNOSTICS: dict[str, Cell] = {
    "policy": lambda policy: str(policy["name"]),
    "entropy": lambda policy: f"{policy['diagnostics']['action_entropy_bits']:.2f}",
    "top": lambda policy: f"{policy['diagnostics']['top_position_share']:.2f}",
    "same": lambda policy: f"{policy['diagnostics']['same_place_share']:.2f}",
    "move": lambda policy: f"{policy['diagnostics']['movement_pixels']:.1f}",
    "GMACs run": lambda policy: f"{policy['gmacs_executed_per_video']:.3f}",
    "videos/s": lambda policy: f"{policy['videos_per_second']:.1f}",
}


def result_tables(result: Mapping[str, Any]) -> list[TextTable]:
    """Rewards and accuracies: with each policy's own classifier and, if that differs, with one.

    And those in other tasks, where such were measured beside it.
    """
    policies = result["policies"]
    own = any(policy["classifier"] == "own" for policy in policies)
    title = "Each with its own stage-3 classifier" if own else "Results"
    tables = [_table(title, _RESULTS, policies, too_wide=_TOO_WIDE)]
    if own and "policies_same_classifier" in result:
        same = result["policies_same_classifier"]
        title = "All with the same (stage-1) classifier"
        tables.append(_table(title, _RESULTS, same, too_wide=_TOO_WIDE))
    for other in result.get("other_tasks", ()):
        tables.append(_table(other["title"], _RESULTS, other["policies"], too_wide=_TOO_WIDE))
    return tables


def comparison_tables(result: Mapping[str, Any]) -> list[TextTable]:
    """Differences on the same videos, diagnostics; where asked for seeds, training split, exits."""
    policies = result["policies"]
    entropy = policies[0]["diagnostics"]["max_entropy_bits"]
    tables = [
        _table(
            "Differences in return on the same videos", _DIFFERENCES, policies, _DIFFERENCE_NOTE
        ),
        _table("Diagnostics and cost", _DIAGNOSTICS, policies, _DIAGNOSTICS_NOTE.format(entropy)),
    ]
    if any(policy["name"] in (BEST_FIXED, CROSS_ORACLE) for policy in policies):
        same = result["policies_same_classifier"]
        title = "Confidence in the true class, all with the same classifier"
        tables.insert(0, _table(title, _CONFIDENCE, same, _CONFIDENCE_NOTE))
    if any(policy["kept_share"] < 1.0 for policy in policies):
        tables.insert(0, _table("Skipping frames", _SKIPPING, policies, _SKIP_NOTE))
    tables += [_seed_table(policies)] if any(p["over_seeds"] for p in policies) else []
    tables += [_train_table(policies)] if any(p["train"] for p in policies) else []
    tables += [_exit_table(result)] if any(p["conditional_exit"] for p in policies) else []
    tables += [_belief_table(result)] if any(p["belief_exit"] for p in policies) else []
    return tables


_SKIP_NOTE = (
    "Focused: share of the frames that were focused on; GMACs follow from it. Conf: confidence in "
    "the true class, mean over frames and videos. The last columns: how much more of it the policy "
    "has than random_skip and uniform_skip with as many frames, paired on the same videos, 95 % "
    "bootstrap intervals."
)
_DIFFERENCE_NOTE = (
    "Paired: each video with itself; 95 % bootstrap intervals over videos. Regret is how much more "
    "the greedy oracle earns."
)
_CONFIDENCE_NOTE = (
    "Mean over frames and videos; differences are paired on the same videos, with 95 % bootstrap "
    "intervals. best_fixed is the position that is best on the training split; motion looks where "
    "consecutive frames differ most; full_frame:SIZE is the focuser on the whole frame, resized, "
    "before a classifier that learned on patches, and its reward compares it with itself; "
    "cross_oracle: of two classifiers of two halves of the training groups each chooses, with the "
    "label, for the other one to judge, and random looks are judged by the same two."
)
_DIAGNOSTICS_NOTE = (
    "Entropy of the positions in bits (uniform: {:.2f}); top: share of the commonest position; "
    "same: share of the videos that get a frame's commonest position; move: pixels between "
    "frames; GMACs run: what the benchmark really computes for a video (where frames are skipped, "
    "mean of 16), the reward's own patches included; videos/s: in this run, where the policy that "
    "comes first may pay for decoding."
)


def warnings(result: Mapping[str, Any]) -> list[str]:
    """Learned policies that do not choose."""
    found = []
    for policy in result["policies"]:
        if policy["learned"]:
            found += diagnostic_warnings(policy["name"], policy["diagnostics"])
    return found


def headlines(result: Mapping[str, Any]) -> list[str]:
    """What the benchmark says about each learned policy, in a sentence."""
    lines = []
    for policy in result["policies"]:
        if not policy["learned"]:
            continue
        for name, found in policy["differences"].items():
            low, high = found["return"]["ci95"]
            verdict = "above" if low > 0 else "below" if high < 0 else "not clearly different from"
            lines.append(
                f"{policy['name']}: mean return {found['return']['mean']:+.3f} "
                f"[{low:+.3f}, {high:+.3f}] {verdict} {name}."
            )
    return lines


LEGEND = (
    "Reward and return are measured with the one recognizer common to all policies; brackets are "
    "95 % bootstrap intervals over videos; rates are fractions; GMACs are 10^9 multiply-adds a "
    "video; target is the share of frames whose patch holds the target's centre. Oracles "
    "know the label, try every position, and are references, not upper bounds. A learned policy is "
    f"said to have collapsed if more than {COLLAPSE_SHARE:.0%} of its looks are at one position."
)


def context_line(result: Mapping[str, Any]) -> str:
    """Which videos, which recognizer."""
    sha = result["recognizer_sha256"][:12]
    return (
        f"{result['videos']} videos of the split `{result['split']}`, seed {result['seed']}, "
        f"recognizer `{sha}`."
    )


def short(value: float | None, digits: int) -> str:
    """A number without the zero before its point; `?` where it is not known."""
    if value is None:
        return "?"
    text = f"{value:.{digits}f}"
    return (
        text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0") else text
    )


def interval(bounds: Sequence[float], digits: int) -> str:
    """`[low high]`."""
    return f"[{short(bounds[0], digits)} {short(bounds[1], digits)}]"


def _table(
    title: str,
    columns: Mapping[str, Cell],
    policies: Sequence[Policy],
    note: str = "",
    too_wide: tuple[str, ...] = (),
) -> TextTable:
    rows = [[cell(policy) for cell in columns.values()] for policy in policies]
    return TextTable(title, list(columns), rows, note, too_wide)


def _skip_difference(policy: Policy, way: str) -> str:
    """Confidence above frames that are chosen without having been seen."""
    name = policy["blind_references"].get(way)
    if name is None:
        return ""
    found = policy["differences"][name]["confidence"]
    return f"{short(found['mean'], 2)} {interval(found['ci95'], 2)}"


def _difference(policy: Policy, name: str, of: str = "return") -> str:
    found = policy["differences"].get(name)
    return "" if found is None else short(found[of]["mean"], 3)


def _difference_interval(policy: Policy, name: str, of: str = "return") -> str:
    found = policy["differences"].get(name)
    return "" if found is None else interval(found[of]["ci95"], 2)


def _seed_table(policies: Sequence[Policy]) -> TextTable:
    rows = []
    for policy in policies:
        for field, found in (policy["over_seeds"] or {}).items():
            rows.append(
                [
                    policy["name"],
                    field,
                    str(len(found["values"])),
                    short(found["mean"], 4),
                    interval(found["mean_ci95"], 3),
                    short(found["iqm"], 4),
                    interval(found["iqm_ci95"], 3),
                ]
            )
    head = ["policy", "of", "seeds", "mean", "95 %", "IQM", "95 % "]
    note = "Over training seeds: mean and interquartile mean of the checkpoints' own numbers."
    return TextTable("Over seeds", head, rows, note)


def _train_table(policies: Sequence[Policy]) -> TextTable:
    head = ["policy", "return", "gap", "top-1", "gap ", "mAP", "gap  "]
    rows = [
        [policy["name"]]
        + [
            short(policy["train"][f"{field}{suffix}"], 3)
            for field in ("return_mean", "top1", "map")
            for suffix in ("", "_gap")
        ]
        for policy in policies
        if policy["train"]
    ]
    note = "Gap: by how much the number is larger on the training split than on the one above."
    return TextTable("On the training split", head, rows, note)


def _exit_table(result: Mapping[str, Any]) -> TextTable:
    metric = result["metric"]
    budgets = (0.7, 1.0, 1.5)
    rows = []
    for policy in result["policies"]:
        for rule, points in (policy["conditional_exit"] or {}).items():
            chosen = [point for point in points if round(point["budget"], 1) in budgets]
            cells = [_at_cost(point, metric, "gmacs_per_video", 3) for point in chosen]
            rows.append([policy["name"], rule, *cells])
    note = (
        f"{metric} @ GMACs a video, at three of 35 budgets q; thresholds from training videos by "
        "the largest logit (confidence) or the entropy."
    )
    return TextTable(
        "Conditional exit", ["policy", "rule", *(f"q={q}" for q in budgets)], rows, note
    )


def _belief_table(result: Mapping[str, Any]) -> TextTable:
    beliefs = (0.5, 0.7, 0.9, 0.99, 1.0)
    rows = [
        [
            policy["name"],
            *(
                _at_cost(point, "top1", "mean_frames", 2)
                for point in policy["belief_exit"]
                if round(point["belief"], 3) in beliefs
            ),
        ]
        for policy in result["policies"]
        if policy["belief_exit"]
    ]
    note = (
        "top-1 @ looks a video, where each video ends when its largest belief reaches the "
        "number above; benchmark.json has more of them. policies=[until:0.9:NAME] is such a policy."
    )
    head = ["policy", *(f"until {short(belief, 2)}" for belief in beliefs[:-1]), "to the end"]
    return TextTable("Ending by belief", head, rows, note)


def _at_cost(point: Mapping[str, Any], metric: str, cost: str, digits: int) -> str:
    return f"{short(point[metric], 3)} @ {short(point[cost], digits)}"
