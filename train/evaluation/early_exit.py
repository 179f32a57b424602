"""Early exit: stop looking at a video once the answer is certain.

`exit_curve` has AdaFocusV2's rule (`adafocus_env/PUBLISHED.md`, "Conditional exit"): nothing is
trained. From the logits after every frame of the training videos come thresholds of certainty, one
a frame, for each of a family of budgets; a video is done at the first frame that reaches its
threshold. So one model gives a curve of accuracy against multiply-adds. `belief_curve` needs no
training videos: one threshold on the largest belief, the same after every look.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

# The published budgets: q below 1 lets most videos go early, above 1 late.
BUDGETS = tuple(round(0.5 + 0.1 * i, 1) for i in range(35))
# Thresholds on the largest belief; at the last nothing ends early.
BELIEFS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, math.inf)
# Metrics of exit logits (V, K), a dict of numbers.
Metrics = Callable[[npt.NDArray[np.float32]], dict[str, float]]


def largest_logit(logits: npt.NDArray[np.float32]) -> Floats:
    """The published certainty: the largest raw logit, `(..., K)` to `(...)`."""
    return np.asarray(logits.max(axis=-1), dtype=np.float64)


def negative_entropy(logits: npt.NDArray[np.float32]) -> Floats:
    """The published alternative: sum of p log p in nats, 0 where one class is sure."""
    log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    return np.asarray((np.exp(log_p) * log_p).sum(axis=-1))


# Name of a rule -> certainty of logits; larger is more certain.
RULES: dict[str, Callable[[npt.NDArray[np.float32]], Floats]] = {
    "confidence": largest_logit,
    "entropy": negative_entropy,
}


def target_shares(budget: float, num_frames: int) -> Floats:
    """`(T,)` shares of videos meant to be done after each frame: q^k for k = 1..T, normalised."""
    shares = budget ** np.arange(1, num_frames + 1, dtype=np.float64)
    return np.asarray(shares / shares.sum())


def exit_thresholds(certainty: Floats, shares: Floats) -> Floats:
    """Thresholds by which the training videos leave in the wanted shares.

    Frame by frame, of the V videos that are still there the `floor(V * share)` most certain ones
    leave, and the threshold is the certainty of the last of them. Nobody leaves where that number
    is 0 (threshold +inf); after the last frame everybody does (-inf).

    Args:
        certainty: `(V, T)` of the training videos.
        shares: `(T,)`, summing to 1.

    Returns:
        `(T,)`.
    """
    num_videos, num_frames = certainty.shape
    thresholds = np.full(num_frames, np.inf)
    thresholds[-1] = -np.inf
    staying = np.arange(num_videos)
    for t in range(num_frames - 1):
        leaving = min(math.floor(num_videos * shares[t]), len(staying))
        if leaving == 0:
            continue
        order = np.argsort(-certainty[staying, t], kind="stable")
        thresholds[t] = certainty[staying[order[leaving - 1]], t]
        staying = np.sort(staying[order[leaving:]])
    return thresholds


def exit_frames(certainty: Floats, thresholds: Floats) -> npt.NDArray[np.int64]:
    """`(V,)` 0-based: the first frame whose certainty `(V, T)` reaches the threshold `(T,)`."""
    frames: npt.NDArray[np.int64] = (certainty >= thresholds).argmax(axis=1)
    return frames


def exit_curve(
    train_logits: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    *,
    rule: str,
    gmacs: Floats,
    metrics: Metrics,
) -> list[dict[str, Any]]:
    """Accuracy against cost, one point for each of the published budgets.

    A video is charged for the frames up to its exit, glance included: frames are glanced at one by
    one.

    Args:
        train_logits: `(V', T, K)` of the training split, the thresholds' source.
        logits: `(V, T, K)` of the split that is judged.
        rule: of `RULES`.
        gmacs: `(V, T)` 10^9 multiply-adds of each frame, all networks that ran on it.
        metrics: of the logits `(V, K)` at which the videos leave.

    Returns:
        points with `budget`, `gmacs_per_video`, `mean_frames`, `exit_shares` (T of them), and what
        `metrics` gives.

    Raises:
        KeyError: an unknown rule.
    """
    train_certainty, certainty = RULES[rule](train_logits), RULES[rule](logits)
    num_frames, spent = logits.shape[1], gmacs.cumsum(axis=1)
    points = []
    for budget in BUDGETS:
        thresholds = exit_thresholds(train_certainty, target_shares(budget, num_frames))
        frames = exit_frames(certainty, thresholds)
        points.append({"budget": budget, **_point(logits, frames, spent, metrics)})
    return points


def belief_curve(
    logits: npt.NDArray[np.float32],
    focused: npt.NDArray[np.bool_],
    *,
    gmacs: Floats,
    metrics: Metrics,
) -> list[dict[str, Any]]:
    """Accuracy against cost of ending each video where its largest belief reaches a threshold.

    Args:
        logits: `(V, T, K)` after each look.
        focused: `(V, T)`, whether there was a look: nobody leaves after the policy itself does.
        gmacs: as of `exit_curve`.
        metrics: likewise.

    Returns:
        points as of `exit_curve`, with `belief`, one of `BELIEFS`, instead of `budget`;
        `mean_frames` counts looks.
    """
    certainty = scipy.special.softmax(logits.astype(np.float64), axis=-1).max(axis=-1)
    last, spent = np.maximum(focused.sum(axis=1), 1) - 1, gmacs.cumsum(axis=1)
    points = []
    for belief in BELIEFS:
        reached = np.where(certainty >= belief, 0.0, -np.inf)
        reached[np.arange(len(last)), last] = 0.0
        frames = exit_frames(reached, np.zeros(logits.shape[1]))
        point = _point(logits, frames, spent, metrics)
        points.append({"belief": min(belief, 1.0), **point})
    return points


def _point(
    logits: npt.NDArray[np.float32],
    frames: npt.NDArray[np.int64],
    spent: Floats,
    metrics: Metrics,
) -> dict[str, Any]:
    """What leaving after these frames `(V,)` gives, and costs of `spent`, `(V, T)` until each."""
    videos, num_frames = np.arange(len(frames)), logits.shape[1]
    shares = np.bincount(frames, minlength=num_frames) / len(frames)
    return {
        "gmacs_per_video": float(spent[videos, frames].mean()),
        "mean_frames": float(shares @ np.arange(1, num_frames + 1)),
        "exit_shares": shares.tolist(),
        **metrics(logits[videos, frames]),
    }


def mean_curve(curves: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The mean over several checkpoints or draws, budget by budget."""
    return [
        {name: _mean([point[name] for point in points]) for name in points[0]}
        for points in zip(*curves, strict=True)
    ]


def _mean(values: list[Any]) -> Any:
    """Of numbers or lists of them; of equal ones it is that, to the last digit."""
    return values[0] if values.count(values[0]) == len(values) else np.mean(values, axis=0).tolist()
