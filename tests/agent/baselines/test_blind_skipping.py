"""Frames kept at random or evenly spread: what skipping has to beat."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.baselines.blind_skipping import BlindSkipping, evenly_spread
from agents.baselines.simple import RandomAgent, center_agent
from agents.evaluation import evaluate_agent, replay_actions

T = 4


@pytest.fixture
def bench(make_vector_env):
    """Five videos, three at a time, every frame looked at by its own actions."""
    return make_vector_env(3, autoreset_mode="disabled")


def test_evenly_spread_frames_are_the_middles_of_equal_parts():
    for frames in ([], [4], [2, 6], [1, 3, 5, 7], list(range(8))):
        assert np.flatnonzero(evenly_spread(len(frames), 8)).tolist() == frames


@pytest.mark.parametrize("way", ["random_skip", "uniform_skip"])
def test_the_share_is_kept_in_the_mean_over_episodes(way):
    agent = BlindSkipping(RandomAgent(spaces.Discrete(49)), way, 0.3, 8)
    focused = np.stack([agent.focused(seed) for seed in range(2000)])
    assert focused.mean() == pytest.approx(0.3, abs=0.02)
    numbers = set(focused.sum(axis=1).tolist())
    assert numbers == ({2, 3} if way == "uniform_skip" else set(range(max(numbers) + 1)))
    for share in (-0.1, 1.5):
        with pytest.raises(ValueError, match="keeps a share of 0 to 1"):
            BlindSkipping(RandomAgent(spaces.Discrete(49)), way, share, 8)


def test_kept_frames_are_looked_at_where_the_other_agent_looks(bench):
    everywhere = evaluate_agent(bench, center_agent(bench.core))
    some = evaluate_agent(bench, BlindSkipping(center_agent(bench.core), "uniform_skip", 0.5, T))
    assert some.focused().tolist() == [[False, True, False, True]] * 5
    np.testing.assert_array_equal(some.boxes, everywhere.boxes * some.focused()[..., None])
    assert everywhere.focused().all()

    every = evaluate_agent(bench, BlindSkipping(center_agent(bench.core), "random_skip", 1.0, T))
    np.testing.assert_allclose(every.rewards, everywhere.rewards, atol=1e-6)


def test_kept_frames_do_not_depend_on_the_batch(make_vector_env):
    one, three = (make_vector_env(count, autoreset_mode="disabled") for count in (1, 3))
    first, second = (
        evaluate_agent(env, BlindSkipping(center_agent(env.core), "random_skip", 0.5, T), draws=2)
        for env in (one, three)
    )
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert 0 < first.focused().sum() < first.focused().size


@pytest.fixture
def skipping_policy(make_policy, bench):
    """Skips some frames and not others; takes how many channels more than glances it sees."""

    def make(told=0):
        channels, *places = bench.single_observation_space.shape
        policy = make_policy(shape=(channels + told, *places), actions=50, seed=1)
        with torch.no_grad():
            policy.actor.weight.mul_(5.0)
            policy.actor.bias[-1] += 1.0
        policy.sees_cost = bool(told)
        return policy

    return make


def test_a_policy_that_skips_is_judged_alike_wherever_its_actions_come_from(
    make_vector_env, bench, skipping_policy
):
    policy = skipping_policy()
    own = make_vector_env(3, locations="skip", autoreset_mode="disabled")
    here, there = evaluate_agent(bench, policy), evaluate_agent(own, policy)
    assert 0 < here.focused().sum() < here.focused().size
    np.testing.assert_array_equal(here.boxes, there.boxes)
    np.testing.assert_allclose(here.logits, there.logits, atol=1e-5)
    again = replay_actions(bench, here)
    np.testing.assert_array_equal(again.boxes, here.boxes)
    np.testing.assert_allclose(again.logits, here.logits, atol=1e-5)


def test_frames_that_a_policy_would_skip_are_looked_at_where_it_would_look(bench, skipping_policy):
    policy = skipping_policy()
    own = evaluate_agent(bench, policy)
    all_frames = evaluate_agent(bench, BlindSkipping(policy, "random_skip", 1.0, T))
    assert all_frames.focused().all()
    np.testing.assert_array_equal(all_frames.boxes[own.focused()], own.boxes[own.focused()])


def test_a_policy_of_random_costs_must_be_told_one_and_is_told_the_right_one(
    make_vector_env, bench, skipping_policy
):
    policy = skipping_policy(told=1)
    with pytest.raises(ValueError, match=r"must be told one: use skip_cost=0\.05"):
        evaluate_agent(bench, policy)
    told = make_vector_env(3, locations="skip", skip_cost="random", autoreset_mode="disabled")
    for cost in (0.0, 0.5):
        here = evaluate_agent(bench, policy, skip_cost=cost)
        there = evaluate_agent(told, policy, skip_cost=cost)
        np.testing.assert_array_equal(here.boxes, there.boxes)
