"""Recorded arrays against computed ones: one report of all that differ."""

from pathlib import Path

import numpy as np
import torch


def recorded(name):
    """The arrays of a recording of the published code."""
    with np.load(Path(__file__).with_name(f"golden_{name}.npz")) as arrays:
        return dict(arrays)


def spread(count, most):
    """Indices of the recorded elements of a flattened tensor, at most so many."""
    chosen = min(most, count)
    return torch.arange(chosen) * (count - 1) // max(1, chosen - 1)


def assert_section_is_the_published_one(count, golden, computed, tolerance):
    """Compare every array of a section.

    Args:
        count: how many there are; none may be lost on the way.
        golden: by name.
        computed: by name, more of them perhaps.
        tolerance: `(name, expected) -> ` the absolute difference allowed, a number or an array;
            integers, truth values and texts must be identical.
    """
    assert len(golden) == count
    wrong = [
        f"{name}: {difference}"
        for name, expected in golden.items()
        if (difference := _difference(name, expected, computed, tolerance))
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {count} arrays differ", *wrong])


def _difference(name, expected, computed, tolerance):
    if name not in computed:
        return "nothing computes it"
    got = np.asarray(computed[name])
    if got.shape != expected.shape:
        return f"shape {got.shape} instead of {expected.shape}"
    if expected.dtype.kind in "ibU":
        return "" if (got == expected).all() else f"{(got != expected).sum()} of {got.size} differ"
    difference = np.abs(got - expected)
    fits = difference <= tolerance(name, expected)  # NaN does not
    if fits.all():
        return ""
    return f"{(~fits).sum()} of {fits.size} differ, by at most {difference.max():.2e}"
