"""Numbers of an evaluation: rates, average precision, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torchmetrics.functional.classification import multiclass_average_precision

from adafocus_env.data import Videos
from agents.evaluation import Evaluation, on_target

_RESAMPLES = 2000


def mean_interval(per_video: npt.NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over videos (percentile, 2000 resamples).

    Args:
        per_video: `(V,)`, draws averaged already.
        seed: of the resampling.
    """
    if len(per_video) < 2 or float(per_video.min()) == float(per_video.max()):
        return float(per_video.mean()), float(per_video.mean())
    interval = stats.bootstrap(
        (per_video,),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def mean_average_precision(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[float, int]:
    """Mean over classes of the average precision of the softmax scores, 0..1.

    Args:
        logits: `(V, K)`.
        labels: `(V,)`.

    Returns:
        the mean over classes that occur in `labels`, and how many do not occur.
    """
    num_classes = logits.shape[1]
    present = np.unique(labels)
    scores = torch.from_numpy(logits).softmax(dim=1)
    per_class = multiclass_average_precision(
        scores, torch.from_numpy(labels), num_classes, average=None
    )
    return float(per_class[torch.from_numpy(present)].mean()), num_classes - len(present)


def reward_summary(evaluation: Evaluation, videos: Videos) -> dict[str, Any]:
    """`reward_mean`, `reward_ci95` (per step), `return_mean` (per video) and `on_target`."""
    per_video = evaluation.per_video(evaluation.rewards)
    hits = on_target(evaluation, videos)
    low, high = mean_interval(per_video.mean(axis=1))
    return {
        "reward_mean": float(per_video.mean()),
        "reward_ci95": [low, high],
        "return_mean": float(per_video.sum(axis=1).mean()),
        "on_target": None if hits is None else float(hits.mean()),
    }


def accuracy_summary(evaluation: Evaluation) -> dict[str, Any]:
    """`top1`, `top1_ci95`, `map`, each also per step; means over the draws of a video."""
    correct = evaluation.per_video(evaluation.correct())
    low, high = mean_interval(correct[:, -1])
    draws = int(evaluation.draw.max()) + 1
    maps = np.array(
        [
            [
                mean_average_precision(evaluation.logits[chosen][:, t], evaluation.label[chosen])[0]
                for t in range(evaluation.logits.shape[1])
            ]
            for chosen in (evaluation.draw == draw for draw in range(draws))
        ]
    ).mean(axis=0)
    return {
        "top1": float(correct[:, -1].mean()),
        "top1_ci95": [low, high],
        "top1_per_step": correct.mean(axis=0).tolist(),
        "map": float(maps[-1]),
        "map_per_step": maps.tolist(),
        "num_videos": evaluation.num_videos,
        "num_draws": draws,
    }
