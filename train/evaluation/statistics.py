"""Intervals, differences between policies on the same videos, spread over training seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # whose parts are imported where they are used first

from agents.evaluation import Evaluation

_RESAMPLES = 2000


def as_draws(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Several checkpoints on the same videos as one evaluation, each checkpoint a draw.

    Args:
        evaluations: one draw a video each, of the same videos.

    Raises:
        ValueError: other videos, several draws, or actions of another kind.
    """
    first = evaluations[0]
    if len(evaluations) == 1:
        return first
    for other in evaluations:
        if not np.array_equal(other.video_index, first.video_index) or other.draw.any():
            raise ValueError("checkpoints can only be joined on the same videos, one draw each")
        if other.actions.shape != first.actions.shape:
            raise ValueError("the checkpoints of one name take actions of different kinds")
    joined = {
        name: np.stack([getattr(part, name) for part in evaluations], axis=1).reshape(
            -1, *value.shape[1:]
        )
        for name, value in vars(first).items()
    }
    joined["draw"] = np.tile(np.arange(len(evaluations)), len(first.draw))
    return Evaluation(**joined)


def each_draw(evaluation: Evaluation) -> list[Evaluation]:
    """The other way round: one evaluation a draw, of one draw."""
    parts = []
    for draw in np.unique(evaluation.draw):
        rows = evaluation.draw == draw
        values = {name: value[rows] for name, value in vars(evaluation).items()}
        parts.append(Evaluation(**{**values, "draw": np.zeros_like(values["draw"])}))
    return parts


def paired_difference(
    per_video: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Mean difference to a reference on the same videos, and its 95 % bootstrap interval.

    Args:
        per_video: `(V,)` of a policy, draws and checkpoints averaged.
        reference: `(V,)` of the other.
    """
    difference = per_video - reference
    return {"mean": float(difference.mean()), "ci95": bootstrap_interval(difference)}


def difference_to(evaluation: Evaluation, reference: Evaluation) -> dict[str, Any]:
    """Paired differences: `reward` per step, `return` per video, `top1`, and of the true class.

    Of that `confidence`, mean over the frames, and `log_likelihood`, after the last one in nats.
    """
    rewards = [e.per_video(e.rewards).mean(axis=1) for e in (evaluation, reference)]
    hits = [e.per_video(e.correct())[:, -1] for e in (evaluation, reference)]
    reward = paired_difference(*rewards)
    return {
        "reward": reward,
        # The mean over T steps and their sum differ by a factor: no need to draw twice.
        "return": _scaled(reward, evaluation.rewards.shape[1]),
        "top1": paired_difference(*hits),
        "confidence": paired_difference(
            *(e.per_video(e.confidences).mean(axis=1) for e in (evaluation, reference))
        ),
        "log_likelihood": paired_difference(
            *(e.per_video(e.log_likelihoods()[:, -1]) for e in (evaluation, reference))
        ),
    }


def _scaled(found: dict[str, Any], factor: float) -> dict[str, Any]:
    return {"mean": found["mean"] * factor, "ci95": [bound * factor for bound in found["ci95"]]}


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Spread of one number over checkpoints that differ in their seed.

    Args:
        values: one a checkpoint.

    Returns:
        `values`, `mean` and `iqm` (interquartile mean: a quarter of the checkpoints, rounded down,
        is left out at either end, so that with three of them nothing is), with 95 % percentile
        bootstrap intervals over checkpoints. With as few as three these are rather too narrow.
    """
    found: dict[str, Any] = {"values": [float(value) for value in values]}
    statistics: dict[str, Callable[..., Any]] = {"mean": np.mean, "iqm": interquartile_mean}
    for name, statistic in statistics.items():
        found[name] = float(statistic(np.asarray(values)))
        found[f"{name}_ci95"] = bootstrap_interval(values, statistic)
    return found


def interquartile_mean(values: Any, axis: int = -1) -> Any:
    """Mean of what is left without the lowest and the highest quarter, each rounded down."""
    return scipy.stats.trim_mean(values, 0.25, axis=axis)


def bootstrap_interval(
    values: npt.ArrayLike, statistic: Callable[..., Any] = np.mean
) -> list[float]:
    """95 % bootstrap interval of a statistic: percentile, 2000 resamples, always the same ones.

    Args:
        values: independent ones, such as one a video, draws averaged already.
        statistic: takes `axis`.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2 or float(sample.min()) == float(sample.max()):
        return [float(statistic(sample))] * 2
    interval = scipy.stats.bootstrap(
        (sample,),
        statistic,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [float(interval.low), float(interval.high)]
