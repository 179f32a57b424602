"""Looks searched ahead: width 1 is greedy, enough width is exhaustive, and nothing is changed."""

import itertools

import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.seeding import derive_episode_seed
from agents.baselines.oracles import BeamOracle, GreedyOracle
from agents.evaluation import evaluate_agent

DARK = np.zeros((5, 3, 2, 2), np.float32)


@pytest.fixture
def env(make_vector_env):
    """Five videos of four frames, 16 positions, rewarded by confidence alone."""
    return make_vector_env(5, grid_size=4, reward="conf", autoreset_mode="disabled")


def _returns(env, width):
    return np.asarray(evaluate_agent(env, BeamOracle(env.core, width)).rewards.sum(axis=1))


def test_a_beam_of_one_is_the_greedy_oracle_and_a_wider_one_finds_more(env):
    beam = evaluate_agent(env, BeamOracle(env.core, 1))
    greedy = evaluate_agent(env, GreedyOracle(env.core))
    assert beam.actions.tolist() == greedy.actions.tolist()
    assert _returns(env, 16).mean() > beam.rewards.sum(axis=1).mean()


def test_a_beam_that_keeps_all_finds_the_best_of_all_sequences(make_videos, make_recognizer):
    parts = make_recognizer(num_frames=2), make_videos(3, num_frames=2)
    rules = {"grid_size": 4, "reward": "conf", "autoreset_mode": "disabled"}
    few, env = (
        PatchLocalizationVectorEnv.from_parts(*parts, num_envs=rows, **rules) for rows in (3, 256)
    )
    found = _returns(few, 16)  # every first look is kept
    pairs = np.array(list(itertools.product(range(16), repeat=2)))
    for video in range(3):
        seed = np.full(256, derive_episode_seed(0, video, 0), np.uint64)
        env.reset(options={"video_index": video, "episode_seed": seed})
        best = env.play(pairs).rewards.sum(dim=1).max().item()
        assert found[video] == pytest.approx(best, abs=1e-5)


def test_planning_and_trying_all_positions_change_nothing_in_the_episode(make_vector_env):
    planned, alone = make_vector_env(5, grid_size=4), make_vector_env(5, grid_size=4)
    for env in (planned, alone):
        env.reset(seed=0)
    BeamOracle(planned.core, 3).plan()
    GreedyOracle(planned.core).predict(DARK)
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
    for oracle in (lambda core: BeamOracle(core, 2), GreedyOracle):
        with pytest.raises(ValueError, match="locations='grid'"):
            oracle(make_vector_env(2, locations="continuous").core)
