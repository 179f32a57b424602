"""Paired differences, checkpoints as draws, interquartile means."""

from dataclasses import replace

import numpy as np
import pytest

from agents.baselines.simple import FixedAgent
from agents.evaluation import evaluate_agent
from train.evaluation.statistics import (
    as_draws,
    bootstrap_interval,
    difference_to,
    each_draw,
    interquartile_mean,
    over_seeds,
    paired_difference,
)


@pytest.fixture
def evaluations(make_vector_env):
    """Three fixed looks on five videos of four frames."""
    env = make_vector_env(5, autoreset_mode="disabled", grid_size=4)
    return [evaluate_agent(env, FixedAgent(np.int64(action))) for action in (0, 5, 9)]


def test_a_difference_is_taken_video_by_video_and_its_interval_holds_the_mean():
    # Every video gains exactly 0.1, however much they differ among themselves.
    reference = np.array([0.0, 5.0, -3.0, 2.0])
    found = paired_difference(reference + 0.1, reference)
    assert found["mean"] == pytest.approx(0.1)
    assert found["ci95"] == pytest.approx([0.1, 0.1])
    rng = np.random.default_rng(0)
    found = paired_difference(rng.normal(1.0, 0.5, 200), np.zeros(200))
    low, high = found["ci95"]
    assert low < found["mean"] < high
    assert 0.1 < high - low < 0.2  # about 4 * 0.5 / sqrt(200)


def test_the_difference_in_return_is_that_of_all_frames_together(evaluations):
    one, other = evaluations[:2]
    found = difference_to(one, other)
    expected = one.rewards.sum(axis=1).mean() - other.rewards.sum(axis=1).mean()
    assert found["return"]["mean"] == pytest.approx(expected)
    assert found["return"]["mean"] == pytest.approx(4 * found["reward"]["mean"])
    hits = [e.correct()[:, -1].mean() for e in (one, other)]
    assert found["top1"]["mean"] == pytest.approx(hits[0] - hits[1])
    logs = [np.log(e.confidences[:, -1]).mean() for e in (one, other)]
    assert found["log_likelihood"]["mean"] == pytest.approx(logs[0] - logs[1], rel=1e-4)


def test_checkpoints_are_joined_as_draws_and_parted_again(evaluations):
    joined = as_draws(evaluations)
    assert joined.video_index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert joined.draw.tolist() == [0, 1, 2] * 5
    mean = np.mean([e.rewards for e in evaluations], axis=0)
    np.testing.assert_allclose(joined.per_video(joined.rewards), mean)
    for part, expected in zip(each_draw(joined), evaluations, strict=True):
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(vars(part)[name], value)
    assert as_draws(evaluations[:1]) is evaluations[0]


def test_checkpoints_on_other_videos_or_with_other_actions_are_refused(evaluations):
    one = evaluations[0]
    with pytest.raises(ValueError, match="the same videos"):
        as_draws([one, replace(one, video_index=one.video_index + 1)])
    with pytest.raises(ValueError, match="different kinds"):
        as_draws([one, replace(one, actions=np.zeros((5, 4, 2), np.float32))])


def test_the_interquartile_mean_and_the_spread_are_those_of_the_checkpoints():
    assert interquartile_mean(np.array([100.0, 2.0, 4.0, -50.0])) == 3.0
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0  # a quarter of 3 is none
    found = over_seeds([0.5, 0.6, 0.7, 3.0])
    assert found["values"] == [0.5, 0.6, 0.7, 3.0]
    assert found["mean"] == pytest.approx(1.2)
    assert found["iqm"] == pytest.approx(0.65)
    low, high = found["mean_ci95"]
    assert 0.5 <= low < 1.2 < high <= 3.0
    assert over_seeds([0.5, 0.5])["iqm_ci95"] == [0.5, 0.5]


def test_the_interval_is_that_of_the_normal_distribution_within_the_values():
    values = np.random.default_rng(0).normal(1.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    middle, half = values.mean(), 1.96 * values.std() / 20
    assert low == pytest.approx(middle - half, abs=0.02)
    assert high == pytest.approx(middle + half, abs=0.02)
    assert bootstrap_interval(np.full(10, 0.25)) == [0.25, 0.25]
    assert bootstrap_interval(np.array([0.5])) == [0.5, 0.5]
    low, high = bootstrap_interval(np.array([0.0] * 9 + [1.0]))
    assert 0.0 <= low < 0.1 < high <= 1.0
    values = np.random.default_rng(0).random(30)
    assert bootstrap_interval(values) == bootstrap_interval(values)
