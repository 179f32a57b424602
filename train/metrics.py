"""Numbers of an evaluation: rates, average precision, intervals, multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional.classification import multiclass_average_precision

from adafocus_env.data import Videos
from adafocus_env.networks import Recognizer
from agents.evaluation import Evaluation, on_target
from agents.gru_policy import GruActorCriticPolicy

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


def multiply_adds(
    recognizer: Recognizer, policy: GruActorCriticPolicy | None = None
) -> Mapping[str, float]:
    """Multiply-adds of one video by part: glancer, focuser, classifier, and policy if there is one.

    Counted by PyTorch's counter on the CPU over convolutions, linear layers and GRUs, as the paper
    counts; the reward baseline's patch is not part of inference.
    """
    config = recognizer.config
    recognizer = Recognizer(config).eval()
    frame = torch.zeros(1, 3, config.frame_size, config.frame_size, dtype=torch.uint8)
    patch = frame[..., : config.patch_size, : config.patch_size]
    features = torch.zeros(1, recognizer.classifier.gru.input_size)
    state = torch.zeros(1, config.hidden_dim)
    counts = {
        "glancer": _count(lambda: recognizer.glance(frame)),
        "focuser": _count(lambda: recognizer.focus(patch)),
        "classifier": _count(lambda: recognizer.classify_step(features, state)),
    }
    if policy is not None:
        copied = GruActorCriticPolicy(
            policy.observation_space, policy.action_space, lambda _: 0.0, **policy.arguments()
        )
        counts["policy"] = _count(lambda: copied(torch.zeros(1, *policy.observation_space.shape)))
    return {name: count * config.num_frames for name, count in counts.items()}


def _count(run: Any) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops() / 2
