"""Numbers of an evaluation: rates, average precision, rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adafocus_env.data import Videos
from agents.evaluation import Evaluation, log_likelihoods, on_target
from train.evaluation.statistics import bootstrap_interval

# Labels of each sample, the first one first.
LabelSets = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class AveragePrecision:
    """Mean average precision and what it is the mean of, rates 0..1.

    Attributes:
        mean: over the classes that count under the rule.
        per_class: `(K,)`; where no sample has the class, NaN (standard) or 0 (published).
        num_missing: classes that no sample has.
    """

    mean: float
    per_class: npt.NDArray[np.float64]
    num_missing: int


def mean_average_precision(
    logits: npt.NDArray[np.float32],
    label_sets: LabelSets,
    *,
    rule: str = "standard",
    labels: str = "all",
) -> AveragePrecision:
    """Average precision of the softmax scores, class by class, and its mean.

    `standard`: torchmetrics' average precision over the classes that occur; the others are left
    out of the mean and counted. `published` has the published code's defects
    (`adafocus_env/PUBLISHED.md`, Metrics): labels are renumbered densely before they meet the score
    columns, so with an absent class all higher ones are judged by a wrong column, and the mean is
    over all K classes, absent ones as 0. Among equal scores the published order is arbitrary; here
    it is the order of the samples.

    Args:
        logits: `(V, K)`.
        label_sets: the labels of each sample, the first one first.
        rule: `"standard"` or `"published"`.
        labels: `"all"` of a sample's labels, or its `"first"` alone.

    Raises:
        ValueError: an unknown rule, a label outside `0..K - 1`, a sample without one, or logits
            that are not finite.
    """
    if rule not in ("standard", "published") or labels not in ("all", "first"):
        raise ValueError(
            f"map_rule is 'standard' or 'published' and map_labels 'all' or 'first', "
            f"not {rule!r} and {labels!r}"
        )
    truth = _multi_hot(label_sets if labels == "all" else [s[:1] for s in label_sets], logits)
    missing = ~truth.any(axis=0)
    # Here, because importing it takes a fifth of the time that torch does.
    from torchmetrics.functional.classification import binary_average_precision

    scores = torch.from_numpy(logits).softmax(dim=1)
    if rule == "published":
        per_class = _published_average_precision(scores.numpy(), truth)
        return AveragePrecision(float(per_class.mean()), per_class, int(missing.sum()))
    per_class = np.full(logits.shape[1], np.nan)
    for k in np.flatnonzero(~missing).tolist():
        target = torch.from_numpy(truth[:, k])
        per_class[k] = float(binary_average_precision(scores[:, k], target, validate_args=False))
    return AveragePrecision(float(np.nanmean(per_class)), per_class, int(missing.sum()))


def top_k(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], k: int) -> float:
    """Share of samples whose label is among the k largest logits, 0..1.

    Of equal logits the class of lower index counts as larger, as in `argmax`. With fewer than k
    classes every label is among them: 1.

    Args:
        logits: `(V, K)`.
        labels: `(V,)`.
        k: at least 1.
    """
    return float(_in_top_k(logits, labels, k).mean())


def classification_metrics(
    logits: npt.NDArray[np.float32] | torch.Tensor,
    label_sets: LabelSets,
    *,
    map_rule: str = "standard",
    map_labels: str = "all",
) -> dict[str, Any]:
    """`top1`, `top5` (of the first label), `map` and `map_missing_classes`, rates 0..1.

    And `log_likelihood`, of the first label in nats.

    Args:
        logits: `(V, K)`, or `(V, T, K)` after each step; then these are the last step's, and
            `top1_per_step`, `top5_per_step` and `map_per_step` have T entries.
        label_sets: V tuples of labels, the first one first.
        map_rule: as in `mean_average_precision`.
        map_labels: as there.
    """
    if isinstance(logits, torch.Tensor):
        logits = logits.detach().float().cpu().numpy()
    steps = [logits] if logits.ndim == 2 else list(logits.swapaxes(0, 1))
    first = np.array([labels[0] for labels in label_sets], dtype=np.int64)
    maps = [
        mean_average_precision(step, label_sets, rule=map_rule, labels=map_labels) for step in steps
    ]
    per_step = {
        "top1": [top_k(step, first, 1) for step in steps],
        "top5": [top_k(step, first, 5) for step in steps],
        "map": [found.mean for found in maps],
    }
    summary: dict[str, Any] = {name: values[-1] for name, values in per_step.items()}
    summary["map_missing_classes"] = maps[-1].num_missing
    summary["log_likelihood"] = float(log_likelihoods(steps[-1], first).mean())
    if logits.ndim == 3:
        summary.update({f"{name}_per_step": values for name, values in per_step.items()})
    return summary


def _multi_hot(label_sets: LabelSets, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """`(V, K)`, whether a sample has a class."""
    samples, classes = logits.shape
    if len(label_sets) != samples:
        raise ValueError(f"{samples} rows of logits but labels of {len(label_sets)} samples")
    if not np.isfinite(logits).all():
        raise ValueError("some logits are not finite numbers; was the network trained to NaN?")
    truth = np.zeros((samples, classes), dtype=np.bool_)
    for row, labels in enumerate(label_sets):
        if not labels or not all(0 <= label < classes for label in labels):
            raise ValueError(f"sample {row} has the labels {labels}, not in 0..{classes - 1}")
        truth[row, list(labels)] = True
    return truth


def _published_average_precision(
    scores: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """`(K,)` under the published rule, the shift included."""
    present = truth.any(axis=0)
    shifted = np.zeros_like(truth)
    shifted[:, : int(present.sum())] = truth[:, present]
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(shifted, order, axis=0)
    precision = hits.cumsum(axis=0) / np.arange(1, len(scores) + 1)[:, None]
    total = (precision * hits).sum(axis=0)
    mean: npt.NDArray[np.float64] = total / np.maximum(hits.sum(axis=0), 1)
    return mean


def _in_top_k(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.bool_]:
    """`(V,)`; NaN would compare as if no class were better, so it is refused."""
    if not np.isfinite(logits).all():
        raise ValueError("some logits are not finite numbers; was the network trained to NaN?")
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    lower = np.arange(logits.shape[1]) < labels[:, None]
    better: npt.NDArray[np.int64] = ((logits > own) | ((logits == own) & lower)).sum(axis=1)
    return better < k


def reward_summary(evaluation: Evaluation, videos: Videos) -> dict[str, Any]:
    """`reward_mean`, `reward_ci95` (per step), `return_mean` (per video) and `on_target`."""
    per_video = evaluation.per_video(evaluation.rewards)
    hits = on_target(evaluation, videos)
    return {
        "reward_mean": float(per_video.mean()),
        "reward_ci95": bootstrap_interval(per_video.mean(axis=1)),
        "return_mean": float(per_video.sum(axis=1).mean()),
        "on_target": None if hits is None else float(hits.mean()),
    }


def accuracy_summary(
    evaluation: Evaluation,
    label_sets: LabelSets | None = None,
    *,
    map_rule: str = "standard",
    map_labels: str = "all",
) -> dict[str, Any]:
    """`classification_metrics` per step, means over the draws of a video, and `top1_ci95`.

    Args:
        evaluation: of V videos.
        label_sets: the labels of every video of the split; None takes the evaluation's one label.
        map_rule: as in `mean_average_precision`.
        map_labels: as there.
    """
    correct = evaluation.per_video(evaluation.correct())
    draws = int(evaluation.draw.max()) + 1
    parts = []
    for draw in range(draws):
        chosen = np.flatnonzero(evaluation.draw == draw)
        sets = [
            (int(evaluation.label[i]),)
            if label_sets is None
            else label_sets[int(evaluation.video_index[i])]
            for i in chosen
        ]
        logits = evaluation.logits[chosen]
        parts.append(classification_metrics(logits, sets, map_rule=map_rule, map_labels=map_labels))
    # Every draw shows the same videos, so the number of missing classes is the same.
    means = {name: np.mean([part[name] for part in parts], axis=0).tolist() for name in parts[0]}
    return {
        **means,
        "map_missing_classes": parts[0]["map_missing_classes"],
        "top1_ci95": bootstrap_interval(correct[:, -1]),
        "num_videos": evaluation.num_videos,
        "num_draws": draws,
    }
