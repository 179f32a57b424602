"""Conditional exit: thresholds, exits and costs worked out by hand."""

import math

import numpy as np
import pytest

from train.evaluation.early_exit import (
    BELIEFS,
    BUDGETS,
    belief_curve,
    exit_curve,
    exit_frames,
    exit_thresholds,
    largest_logit,
    mean_curve,
    negative_entropy,
    target_shares,
)

INF = math.inf
# Four videos, three frames.
CERTAINTY = np.array([[9.0, 1.0, 1.0], [5.0, 8.0, 1.0], [3.0, 9.0, 1.0], [1.0, 2.0, 1.0]])


def test_there_are_35_budgets_whose_powers_are_the_shares():
    assert len(BUDGETS) == 35
    assert (BUDGETS[0], BUDGETS[1], BUDGETS[-1]) == (0.5, 0.6, 3.9)
    assert target_shares(2.0, 3).tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert target_shares(1.0, 4).tolist() == [0.25] * 4
    assert target_shares(0.5, 3).tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(
    ("budget", "thresholds", "frames"),
    [
        # floor(4/3) = 1: the 9 leaves first; of 8, 9, 2 the 9 leaves; the rest at the end.
        (1.0, [9.0, 9.0, -INF], [0, 2, 1, 2]),
        # floor(4/7) = 0: nobody; floor(8/7) = 1: the 9 of the third video.
        (2.0, [INF, 9.0, -INF], [2, 2, 1, 2]),
        # floor(16/7) = 2: 9 and 5 leave, the threshold is 5; floor(8/7) = 1: of 9 and 2 the 9.
        (0.5, [5.0, 9.0, -INF], [0, 0, 1, 2]),
    ],
)
def test_the_most_certain_videos_leave(budget, thresholds, frames):
    found = exit_thresholds(CERTAINTY, target_shares(budget, 3))
    assert found.tolist() == thresholds
    assert exit_frames(CERTAINTY, found).tolist() == frames


def test_who_has_left_sets_no_later_threshold_and_others_leave_at_the_first_they_reach():
    certainty = np.array([[9.0, 100.0, 0.0], [1.0, 2.0, 0.0], [1.0, 3.0, 0.0]])
    assert exit_thresholds(certainty, np.array([1 / 3, 1 / 3, 1 / 3])).tolist() == [9.0, 3.0, -INF]
    assert exit_thresholds(CERTAINTY[:, :1], np.ones(1)).tolist() == [-INF]
    thresholds = np.array([5.0, 3.0, -INF])
    certainty = np.array([[5.0, 0.0, 0.0], [4.9, 3.0, 9.0], [4.9, 2.9, -9.0]])
    assert exit_frames(certainty, thresholds).tolist() == [0, 1, 2]


def test_certainty_is_the_largest_raw_logit_or_the_negative_entropy():
    logits = np.array([[0.0, 0.0], [3.0, -5.0], [900.0, -900.0]], np.float32)
    assert largest_logit(logits).tolist() == [0.0, 3.0, 900.0]
    entropy = negative_entropy(logits)
    assert entropy[0] == pytest.approx(-math.log(2))
    assert entropy[2] == 0.0
    assert entropy[0] < entropy[1] < entropy[2]


def _curve(rule="confidence", **changes):
    # The largest logit of class 0 is the certainty above; class 1 is always at 0.5.
    logits = np.stack([CERTAINTY, np.full_like(CERTAINTY, 0.5)], axis=2).astype(np.float32)
    given = {"train_logits": logits, "logits": logits, **changes}
    given.setdefault("gmacs", np.full(given["logits"].shape[:2], 10.0))

    def metrics(chosen):
        return {"largest": float(chosen.max(axis=1).sum())}

    return exit_curve(rule=rule, metrics=metrics, **given)


def test_a_point_charges_frames_up_to_the_exit_and_judges_the_logits_there():
    points = {point["budget"]: point for point in _curve()}
    assert list(points) == list(BUDGETS)
    # Exits after frames 1, 3, 2, 3: 9 frames of 4 videos at 10 each; certainties 9, 1, 9, 1.
    assert points[1.0]["mean_frames"] == 2.25
    assert points[1.0]["gmacs_per_video"] == 22.5
    assert points[1.0]["exit_shares"] == [0.25, 0.25, 0.5]
    assert points[1.0]["largest"] == 20.0
    # Exits after frames 1, 1, 2, 3: certainties 9, 5, 9, 1.
    assert points[0.5]["gmacs_per_video"] == 17.5
    assert points[0.5]["largest"] == 24.0
    # The exits are after frames 1, 3, 2, 3; every second frame costs 1 instead of 10.
    gmacs = np.tile([10.0, 1.0, 10.0], (4, 1))
    (point,) = (point for point in _curve(gmacs=gmacs) if point["budget"] == 1.0)
    assert point["gmacs_per_video"] == (10 + 21 + 11 + 21) / 4


def test_thresholds_come_from_the_training_videos_alone():
    # Nobody here reaches what the training videos reach.
    logits = np.full((2, 3, 2), 0.75, np.float32)
    point = _curve(logits=logits)[5]
    assert point["budget"] == 1.0
    assert point["exit_shares"] == [0.0, 0.0, 1.0]


def test_more_budget_never_costs_less():
    rng = np.random.default_rng(0)
    train, here = (rng.normal(size=(400, 8, 5)).astype(np.float32) for _ in range(2))
    for rule in ("confidence", "entropy"):
        costs = [p["gmacs_per_video"] for p in _curve(rule, train_logits=train, logits=here)]
        assert costs == sorted(costs)
        assert costs[0] < 20.0 < 60.0 < costs[-1] <= 80.0


def test_several_checkpoints_are_averaged_budget_by_budget():
    one = [{"budget": 0.5, "top1": 0.5, "exit_shares": [0.0, 1.0]}]
    other = [{"budget": 0.5, "top1": 1.0, "exit_shares": [0.5, 0.5]}]
    assert mean_curve([one, other]) == [{"budget": 0.5, "top1": 0.75, "exit_shares": [0.25, 0.75]}]
    assert mean_curve([[{"belief": 0.3}]] * 3) == [{"belief": 0.3}]  # whose mean is 0.3 + 4e-17


def test_by_belief_a_video_ends_at_the_first_look_that_reaches_the_threshold():
    # Largest beliefs; the second video ended itself after two looks.
    beliefs = np.array([[0.55, 0.97, 0.6], [0.75, 0.85, 0.85], [0.51, 0.52, 0.53]])
    logits = np.log(np.stack([beliefs, 1.0 - beliefs], axis=2)).astype(np.float32)
    focused = np.array([[True, True, True], [True, True, False], [True, True, True]])
    gmacs = np.array([[10.0, 1.0, 1.0], [10.0, 1.0, 0.0], [10.0, 1.0, 1.0]])

    def metrics(chosen):
        return {"largest": float(np.exp(chosen[:, 0]).sum())}

    curve = belief_curve(logits, focused, gmacs=gmacs, metrics=metrics)
    points = {point["belief"]: point for point in curve}
    assert list(points) == [min(belief, 1.0) for belief in BELIEFS]
    assert points[0.5]["exit_shares"] == [1.0, 0.0, 0.0]
    # After looks 2, 1, 3.
    assert points[0.7]["mean_frames"] == 2.0
    assert points[0.7]["gmacs_per_video"] == (11 + 10 + 12) / 3
    assert points[0.7]["largest"] == pytest.approx(0.97 + 0.75 + 0.53)
    # To the end: after looks 3, 2, 3; what came before is not gone back to.
    assert points[1.0]["mean_frames"] == pytest.approx(8 / 3)
    assert points[1.0]["largest"] == pytest.approx(0.6 + 0.85 + 0.53)
