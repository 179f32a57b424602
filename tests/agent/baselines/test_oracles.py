"""Looks searched ahead: width 1 is greedy, enough width is exhaustive, and nothing is changed."""

import itertools

import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.baselines.oracles import BeamOracle, GreedyOracle
from agents.evaluation import evaluate_agent

DARK = np.zeros((5, 3, 2, 2), np.float32)


@pytest.fixture
def env(make_vector_env):
    """Five videos of four frames, 16 positions, rewarded by confidence alone."""
    return make_vector_env(5, grid_size=4, reward="conf", autoreset_mode="disabled")


def _returns(env, width):
    return np.asarray(evaluate_agent(env, BeamOracle(env.core, width)).rewards.sum(axis=1))


def test_a_beam_of_one_is_the_greedy_oracle(env):
    beam = evaluate_agent(env, BeamOracle(env.core, 1))
    greedy = evaluate_agent(env, GreedyOracle(env.core))
    assert beam.actions.tolist() == greedy.actions.tolist()


def test_a_beam_that_keeps_all_finds_the_best_of_all_sequences(
    make_vector_env, make_videos, make_recognizer
):
    env = PatchLocalizationVectorEnv.from_parts(
        make_recognizer(num_frames=2),
        make_videos(3, num_frames=2),
        num_envs=3,
        grid_size=4,
        reward="conf",
        autoreset_mode="disabled",
    )
    found = _returns(env, 16)  # every first look is kept
    sums = []
    for pair in itertools.product(range(16), repeat=2):
        env.reset(options={"video_index": np.arange(3), "episode_seed": _seeds(3)})
        sums.append(env.play(np.tile(pair, (3, 1))).rewards.sum(dim=1).numpy())
    np.testing.assert_allclose(found, np.max(sums, axis=0), atol=1e-5)


def _seeds(count):
    from adafocus_env.seeding import derive_episode_seed

    return np.array([derive_episode_seed(0, video, 0) for video in range(count)], np.uint64)


def test_a_wider_beam_finds_more_here(env):
    narrow, wide = _returns(env, 1), _returns(env, 16)
    assert wide.mean() > narrow.mean()


def test_planning_changes_nothing_in_the_episode(make_vector_env):
    planned, alone = make_vector_env(5, grid_size=4), make_vector_env(5, grid_size=4)
    for env in (planned, alone):
        env.reset(seed=0)
    BeamOracle(planned.core, 3).plan()
    assert not planned.core.steps.any()
    one, other = (env.step(np.full(5, 7)) for env in (planned, alone))
    np.testing.assert_allclose(one[1], other[1], atol=1e-6)


def test_a_plan_is_followed_from_the_first_frame_only(env):
    env.reset(seed=0)
    oracle = BeamOracle(env.core, 2)
    env.core.transition(torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="from their first frame"):
        oracle.predict(DARK)


def test_widths_and_locations_that_cannot_be_are_refused(env, make_vector_env):
    with pytest.raises(ValueError, match="got width 0"):
        BeamOracle(env.core, 0)
    with pytest.raises(ValueError, match="locations='grid'"):
        BeamOracle(make_vector_env(2, locations="continuous").core, 2)
