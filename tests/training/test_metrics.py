"""Numbers of an evaluation, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.evaluation import Evaluation
from train.metrics import (
    accuracy_summary,
    mean_average_precision,
    mean_interval,
    reward_summary,
)

# --- intervals ---


def test_the_interval_of_equal_values_is_the_value() -> None:
    assert mean_interval(np.full(10, 0.25)) == (0.25, 0.25)
    assert mean_interval(np.array([0.5])) == (0.5, 0.5)


def test_the_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(1.0, 2.0, size=400)
    low, high = mean_interval(values)
    middle, half = values.mean(), 1.96 * values.std() / 20
    assert low == pytest.approx(middle - half, abs=0.02)
    assert high == pytest.approx(middle + half, abs=0.02)


def test_the_interval_of_a_rate_stays_within_0_and_1() -> None:
    low, high = mean_interval(np.array([0.0] * 9 + [1.0]))
    assert 0.0 <= low < 0.1 < high <= 1.0


def test_the_interval_belongs_to_its_seed() -> None:
    values = np.random.default_rng(0).random(30)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)


# --- average precision ---


def test_the_mean_is_over_the_classes_that_occur() -> None:
    probabilities = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]]
    labels = np.array([0, 1, 1, 0])
    # Class 0 at ranks 1 and 3: (1 + 2/3) / 2. Class 1 at ranks 1 and 2: 1. Class 2 does not occur.
    mean, absent = mean_average_precision(np.log(np.array(probabilities, np.float32)), labels)
    assert mean == pytest.approx((5 / 6 + 1) / 2)
    assert absent == 1


def test_perfect_predictions_are_1_also_where_a_class_does_not_occur() -> None:
    labels = np.array([0, 2, 3, 0])
    logits = 5.0 * np.eye(4, dtype=np.float32)[labels]
    assert mean_average_precision(logits, labels) == (pytest.approx(1.0), 1)


def test_scores_are_probabilities_and_not_logits() -> None:
    # By logits class 0 ranks the second sample first; by probability the first one.
    logits = np.array([[2.0, 0.0], [3.0, 3.0]], np.float32)
    mean, absent = mean_average_precision(logits, np.array([0, 1]))
    assert (mean, absent) == (pytest.approx(1.0), 0)


# --- summaries ---


class _Targets:
    """Targets in the upper left corner, or unknown."""

    def __init__(self, known: bool):
        self._known = known

    def target_centers(self, index: int) -> Any:
        return np.full((2, 2), 5.0, np.float32) if self._known else None


@pytest.fixture
def evaluation() -> Evaluation:
    """Two videos, two draws, two steps, three classes of which the last does not occur."""
    logits = np.zeros((4, 2, 3), np.float32)
    # Video 0 (class 0) is right at the last step in its first draw alone, video 1 (class 1) in
    # both; at the first step only video 0's second draw is right.
    for episode, step, named in [
        (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 2),
        (2, 0, 2), (2, 1, 1), (3, 0, 0), (3, 1, 1),
    ]:  # fmt: skip
        logits[episode, step, named] = 3.0
    logits[1, 1, 0] = 1.0
    boxes = np.zeros((4, 2, 4), np.int64)
    boxes[..., 2:] = 10
    boxes[2:, 1, 0] = 6  # video 1's second look misses
    return Evaluation(
        video_index=np.array([0, 0, 1, 1]),
        draw=np.array([0, 1, 0, 1]),
        label=np.array([0, 0, 1, 1]),
        actions=np.zeros((4, 2), np.int64),
        rewards=np.array([[0.1, 0.2], [0.3, 0.4], [-0.1, 0.0], [0.0, 0.1]]),
        confidences=np.zeros((4, 2)),
        logits=logits,
        boxes=boxes,
    )


def test_rewards_are_averaged_over_draws_then_videos(evaluation: Evaluation) -> None:
    summary = reward_summary(evaluation, _Targets(known=True))  # type: ignore[arg-type]
    # Per step: video 0 has 1/4, video 1 has 0; per video: 1/2 and 0.
    assert summary["reward_mean"] == pytest.approx(0.125)
    assert summary["return_mean"] == pytest.approx(0.25)
    assert summary["reward_ci95"] == [pytest.approx(0.0), pytest.approx(0.25)]
    assert summary["on_target"] == pytest.approx(6 / 8)


def test_on_target_is_none_where_it_is_not_known(evaluation: Evaluation) -> None:
    summary = reward_summary(evaluation, _Targets(known=False))  # type: ignore[arg-type]
    assert summary["on_target"] is None


def test_accuracies_are_averaged_over_draws_then_videos(evaluation: Evaluation) -> None:
    summary = accuracy_summary(evaluation)
    assert summary["top1_per_step"] == [pytest.approx(0.25), pytest.approx(0.75)]
    assert summary["top1"] == pytest.approx(0.75)
    assert summary["top1_ci95"] == [pytest.approx(0.5), pytest.approx(1.0)]
    assert (summary["num_videos"], summary["num_draws"]) == (2, 2)
    assert summary["map"] == summary["map_per_step"][-1]
    # In both draws each class's own video is its most probable one after the last step, although
    # video 0's second draw names class 2.
    assert summary["map"] == pytest.approx(1.0)
    assert len(summary["map_per_step"]) == 2
