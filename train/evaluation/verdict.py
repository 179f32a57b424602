"""What a benchmark says, in one sentence: does it matter where one looks, and was that found?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.baselines.registry import BEST_FIXED, CROSS_ORACLE

# Gains in confidence below this are of no use to anybody, however certain they are.
LITTLE = 0.05

Difference = Mapping[str, Any]


def verdict(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The sentence, or None where neither of the two that it needs was measured.

    Whether looks matter is judged by what `cross_oracle` and `best_fixed` gain over random looks: a
    label-aware oracle judged by the classifier that it asked measures mostly noise. Both are in
    confidence in the true class, mean over the frames, with paired 95 % intervals over the videos;
    a gain counts where its interval lies above 0.

    Args:
        rows: of `benchmark.json`, all judged by the same classifier.
    """
    by_name = {row["name"]: row for row in rows}
    gains = {
        name: found
        for name in (CROSS_ORACLE, BEST_FIXED)
        if name in by_name and (found := _difference(by_name[name], "random")) is not None
    }
    if not gains:
        return None
    measured = " and ".join(f"{_NAMES[name]} {_signed(found)}" for name, found in gains.items())
    clear = [found["mean"] for found in gains.values() if found["ci95"][0] > 0]
    policies = [row for row in rows if row["learned"]]
    learned = [_policy(row) for row in policies]
    if not clear:
        said = f"Where one looks makes no measurable difference on this data: {measured}"
        gained = any((one := _difference(row, "random")) and one["ci95"][0] > 0 for row in policies)
        before = "all the same " if gained else "so there was nothing to be found: "
        return f"{_joined(said, learned, before)}."
    if max(clear) < LITTLE:
        said = f"Where one looks makes little difference on this data: {measured}"
        return f"{_joined(said, learned, 'of that ')}."
    said = f"Where one looks matters on this data: {measured}"
    return f"{_joined(said, learned, '')}."


_NAMES = {
    CROSS_ORACLE: "looks that one classifier chooses with the label and another one judges gain",
    BEST_FIXED: "the best fixed position gains",
}


def _joined(said: str, learned: Sequence[str], before: str) -> str:
    return "; ".join([f"{said} over random looks in confidence", *(before + x for x in learned)])


def _policy(row: Mapping[str, Any]) -> str:
    """What is said of a learned policy."""
    above = _difference(row, "random")
    if above is None:
        return f"what the policy {row['name']} gains over random looks was not measured"
    low, high = above["ci95"]
    if low > 0:
        found = f"the policy {row['name']} gains {_signed(above)} over random looks"
    elif high < 0:
        found = f"the policy {row['name']} is {_signed(above)} worse than random looks"
    else:
        found = f"the policy {row['name']} is not clearly different from random ({_signed(above)})"
    others = [
        f"{_compared(difference)} {name} ({_signed(difference)})"
        for name in (BEST_FIXED, "motion")
        if (difference := _difference(row, name)) is not None
    ]
    return ", ".join([found, *others])


def _compared(difference: Difference) -> str:
    low, high = difference["ci95"]
    return "above" if low > 0 else "below" if high < 0 else "not clearly different from"


def _difference(row: Mapping[str, Any], name: str) -> Difference | None:
    """In confidence."""
    found = row["differences"].get(name)
    return None if found is None or "confidence" not in found else found["confidence"]


def _signed(found: Difference) -> str:
    low, high = found["ci95"]
    return f"{found['mean']:+.3f} [{low:+.3f} {high:+.3f}]"
