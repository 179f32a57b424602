"""Numbers of an evaluation, worked out by hand."""

import numpy as np
import pytest
import torch

from agents.evaluation import Evaluation
from train.evaluation.metrics import (
    accuracy_summary,
    classification_metrics,
    mean_average_precision,
    reward_summary,
    top_k,
)


def _logits(probabilities):
    return np.log(np.array(probabilities, np.float32))


# Class 0 ranks the samples 0, 1, 3, 2; class 1 ranks them 2, 1, 0, 3; class 2 ranks 3 first.
FOUR = _logits([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])
ONE_EACH = [(0,), (1,), (1,), (0,)]
SEVERAL = [(0,), (1, 0), (1,), (2, 1)]


def test_the_mean_is_over_the_classes_that_occur():
    found = mean_average_precision(FOUR, ONE_EACH)
    # Class 0 at ranks 1 and 3: (1 + 2/3) / 2. Class 1 at ranks 1 and 2: 1. Class 2 does not occur.
    assert found.per_class == pytest.approx([5 / 6, 1.0, np.nan], nan_ok=True)
    assert found.mean == pytest.approx((5 / 6 + 1) / 2)
    assert found.num_missing == 1


def test_every_label_of_a_sample_counts_or_the_first_alone():
    every = mean_average_precision(FOUR, SEVERAL)
    # Class 0 at ranks 1 and 2: 1. Class 1 at ranks 1, 2 and 4: (1 + 1 + 3/4) / 3. Class 2: 1.
    assert every.per_class == pytest.approx([1.0, 2.75 / 3, 1.0])
    first = mean_average_precision(FOUR, SEVERAL, labels="first")
    # Class 0 has sample 0 alone, class 1 the samples 1 and 2.
    assert first.per_class == pytest.approx([1.0, 1.0, 1.0])
    assert every.num_missing == first.num_missing == 0


def test_perfect_predictions_are_1_also_where_classes_do_not_occur():
    for logits, labels, missing in (
        (5.0 * np.eye(4, dtype=np.float32)[[0, 2, 3, 0]], (0, 2, 3, 0), 1),
        # By logits class 0 ranks the second sample first; by probability the first one.
        (np.array([[2.0, 0.0], [3.0, 3.0]], np.float32), (0, 1), 0),
        (FOUR, (1, 1, 1, 1), 2),
    ):
        found = mean_average_precision(logits, [(label,) for label in labels])
        assert (found.mean, found.num_missing) == (pytest.approx(1.0), missing)


def test_by_the_published_rule_an_absent_class_shifts_the_higher_ones():
    logits = np.array([[9, 0, 0, 0], [0, 2, 9, 1], [0, 0, 1, 9], [8, 0, 0, 0]], np.float32)
    found = mean_average_precision(logits, [(0,), (2,), (3,), (0,)], rule="published")
    # Class 2 is called 1 and class 3 is called 2. Column 1 ranks sample 1 first, which has it: 1.
    # Column 2 ranks sample 1 before sample 2, which has it: 1/2. Nothing is called 3: 0.
    assert found.per_class == pytest.approx([1.0, 1.0, 0.5, 0.0])
    assert found.mean == pytest.approx(2.5 / 4)
    assert found.num_missing == 1
    every = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    labels = [(i % 6, (i + 2) % 6) for i in range(50)]  # with all classes both rules agree
    one, other = (mean_average_precision(every, labels, rule=r) for r in ("standard", "published"))
    np.testing.assert_allclose(one.per_class, other.per_class, atol=1e-6)


def test_labels_rules_and_logits_that_fit_nothing_are_refused():
    for labels, changes, message in (
        ([(0,), (3,), (1,), (0,)], {}, r"sample 1 has the labels \(3,\), not in 0..2"),
        ([(0,), (-1,), (1,), (0,)], {}, r"sample 1 has the labels \(-1,\)"),
        ([(0,), (), (1,), (0,)], {}, r"sample 1 has the labels \(\)"),
        ([(0,)], {}, "4 rows of logits but labels of 1 samples"),
        ([(0,)] * 4, {"rule": "voc"}, "map_rule is 'standard' or 'published'"),
        ([(0,)] * 4, {"labels": "last"}, "map_labels 'all' or 'first'"),
    ):
        with pytest.raises(ValueError, match=message):
            mean_average_precision(FOUR, labels, **changes)
    unknown = FOUR.copy()
    unknown[2, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        mean_average_precision(unknown, ONE_EACH)
    with pytest.raises(ValueError, match="not finite"):
        top_k(unknown, np.zeros(4, np.int64), 1)


def test_a_label_counts_if_fewer_than_k_classes_are_better_and_the_first_of_equals_wins():
    logits = np.array([[5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]], np.float32)
    # The labels are at ranks 1, 5 and 6.
    shares = [top_k(logits, np.array([0, 4, 0]), k) for k in (1, 4, 5, 6)]
    assert shares == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1.0])
    logits, labels = np.zeros((3, 3), np.float32), np.array([0, 1, 2])
    assert [top_k(logits, labels, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert top_k(logits[:1], labels[:1], 1) == 1.0
    assert top_k(FOUR, np.array([2, 2, 2, 1]), 5) == 1.0


def test_metrics_after_every_step_end_with_the_last_steps():
    logits = np.stack([FOUR[::-1], FOUR], axis=1)
    metrics = classification_metrics(logits, ONE_EACH)
    # Named 0, 1, 0, 0 after the first step and 0, 0, 1, 0 after the second.
    assert metrics["top1_per_step"] == pytest.approx([3 / 4, 3 / 4])
    assert metrics["map_per_step"][1] == metrics["map"] == pytest.approx((5 / 6 + 1) / 2)
    assert metrics["top5_per_step"] == [1.0, 1.0]
    assert metrics["map_missing_classes"] == 1
    last = classification_metrics(logits[:, 1], ONE_EACH)
    names = ("top1", "top5", "map", "map_missing_classes", "log_likelihood")
    assert last == {name: metrics[name] for name in names}


def test_the_log_likelihood_is_that_of_the_first_label():
    logits = np.log([[0.25, 0.75], [0.5, 0.5]]).astype(np.float32)
    found = classification_metrics(logits, [(1, 0), (0,)])
    assert found["log_likelihood"] == pytest.approx((np.log(0.75) + np.log(0.5)) / 2)


def test_metrics_take_tensors_and_judge_top_k_by_the_first_label():
    metrics = classification_metrics(torch.from_numpy(FOUR).double(), SEVERAL)
    assert metrics["top1"] == pytest.approx(2 / 4)  # samples 0 and 2
    assert metrics["map"] == pytest.approx((2 + 2.75 / 3) / 3)
    first = classification_metrics(FOUR, SEVERAL, map_labels="first")
    assert first["map"] == pytest.approx(1.0)


class _Targets:
    """Targets in the upper left corner, or unknown."""

    def __init__(self, corner):
        self.target_centers = lambda index: corner


@pytest.fixture
def evaluation():
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


def test_rewards_are_averaged_over_draws_then_videos(evaluation):
    summary = reward_summary(evaluation, _Targets(np.full((2, 2), 5.0, np.float32)))
    # Per step: video 0 has 1/4, video 1 has 0; per video: 1/2 and 0.
    assert summary["reward_mean"] == pytest.approx(0.125)
    assert summary["return_mean"] == pytest.approx(0.25)
    assert summary["reward_ci95"] == pytest.approx([0.0, 0.25])
    assert summary["on_target"] == pytest.approx(6 / 8)
    assert reward_summary(evaluation, _Targets(None))["on_target"] is None


def test_accuracies_are_averaged_over_draws_then_videos(evaluation):
    summary = accuracy_summary(evaluation)
    assert summary["top1_per_step"] == pytest.approx([0.25, 0.75])
    assert summary["top1"] == pytest.approx(0.75)
    assert summary["top1_ci95"] == pytest.approx([0.5, 1.0])
    assert (summary["num_videos"], summary["num_draws"]) == (2, 2)
    assert summary["map"] == summary["map_per_step"][-1]
    # In both draws each class's own video is its most probable one after the last step, although
    # video 0's second draw names class 2.
    assert summary["map"] == pytest.approx(1.0)
    assert len(summary["map_per_step"]) == 2
    assert summary["map_missing_classes"] == 1
    assert summary["top5_per_step"] == [1.0, 1.0]


def test_further_labels_of_a_video_count_in_the_mean_average_precision(evaluation):
    labels = ((0, 2), (1,))
    summary = accuracy_summary(evaluation, labels)
    assert summary["map_missing_classes"] == 0
    assert summary["top1"] == accuracy_summary(evaluation)["top1"]
    first = accuracy_summary(evaluation, labels, map_labels="first")
    assert first["map"] == accuracy_summary(evaluation)["map"]
    published = accuracy_summary(evaluation, map_rule="published")
    assert published["map"] == pytest.approx(2 / 3)  # two perfect classes of three
