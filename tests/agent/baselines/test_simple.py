"""Agents that do not learn: random, center, fixed, sweep, greedy oracle."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.envs.lookahead import confidences_at_all_positions
from agents.baselines.oracles import GreedyOracle
from agents.baselines.simple import (
    FixedAgent,
    RandomAgent,
    SeededAgent,
    SweepAgent,
    actions_of_positions,
    center_agent,
)

DARK = np.zeros((5, 3, 2, 2), np.float32)


def _draw(agent, steps, rows=5):
    """`(rows, steps, ...)`."""
    return np.stack([agent.predict(DARK[:rows])[0] for _ in range(steps)], axis=1)


def test_random_actions_are_uniform_over_the_grid_or_the_continuous_range():
    actions = _draw(RandomAgent(spaces.Discrete(49)), 2000).ravel()
    counts = np.bincount(actions, minlength=49)
    assert len(counts) == 49
    assert stats.chisquare(counts).pvalue > 1e-3
    actions = _draw(RandomAgent(spaces.Box(0.0, 1.0, (2,), np.float32)), 1000).reshape(-1, 2)
    assert actions.dtype == np.float32
    assert stats.kstest(actions.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.05


@pytest.mark.parametrize(
    "space", [spaces.Discrete(49), spaces.Box(0.0, 1.0, (2,), np.float32)], ids=["grid", "box"]
)
def test_random_actions_belong_to_the_episode_and_not_to_the_batch(space):
    whole, part = RandomAgent(space, seed=1), RandomAgent(space, seed=2)
    whole.begin_episodes([11, 12, 13, 14, 2**64 - 1])
    part.begin_episodes([12, 2**64 - 1])
    together = _draw(whole, 8)
    np.testing.assert_array_equal(_draw(part, 8, rows=2), together[[1, 4]])
    assert not np.array_equal(together[0], together[1])
    whole.begin_episodes([11, 12, 13, 14, 2**64 - 1])  # again
    np.testing.assert_array_equal(_draw(whole, 8), together)


def test_without_episode_seeds_the_agents_seed_decides():
    space = spaces.Discrete(49)
    one, same, other = (_draw(RandomAgent(space, seed=seed), 20) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_only_agents_of_chance_are_told_the_episodes(make_vector_env):
    core = make_vector_env(1).core
    assert isinstance(RandomAgent(spaces.Discrete(4)), SeededAgent)
    for agent in (FixedAgent(np.int64(0)), GreedyOracle(core)):
        assert not isinstance(agent, SeededAgent)


def test_center_is_the_position_nearest_the_middle_or_one_half_and_a_fixed_agent_needs_nothing(
    make_vector_env,
):
    # Row and column 3 of 7; 1 of 4, the upper left of the four in the middle.
    for rules, action in (
        ({"grid_size": 7}, 24),
        ({"grid_size": 4}, 5),
        ({"locations": "continuous"}, [0.5, 0.5]),
    ):
        env = make_vector_env(5, **rules)
        actions, state = center_agent(env.core).predict(DARK)
        assert actions.tolist() == [action] * 5
        assert state is None
        assert env.action_space.contains(actions)
    agent = FixedAgent(np.int64(3))
    for rows in (1, 5):
        assert agent.predict(DARK[:rows], None, np.ones(rows, bool), True)[0].tolist() == [3] * rows


def _swept(env, steps, **arguments):
    """`(steps, 2)` actions of two rows; the second begins anew at the third step."""
    agent, state, actions = SweepAgent(env.core), None, []
    for t in range(steps):
        starts = np.array([t == 0, t in (0, 2)])
        action, state = agent.predict(DARK[:2], state, starts, **arguments)
        actions.append(action)
    return np.array(actions)


def test_a_sweep_of_four_frames_goes_through_the_corners(make_vector_env):
    # 2x2 positions of 7x7: (0, 0), (0, 6), (6, 0), (6, 6); then again.
    actions = _swept(make_vector_env(2, grid_size=7), 6)
    assert actions[:, 0].tolist() == [0, 6, 42, 48, 0, 6]
    assert actions[:, 1].tolist() == [0, 6, 0, 6, 42, 48]


def test_a_sweep_of_more_frames_has_more_lines(make_videos, make_recognizer):
    env = PatchLocalizationVectorEnv.from_parts(
        make_recognizer(num_frames=8), make_videos(num_frames=8), num_envs=2, grid_size=7
    )
    # 3x3: lines and columns 0, 3 and 6.
    assert _swept(env, 8)[:, 0].tolist() == [0, 3, 6, 21, 24, 27, 42, 45]


def test_positions_keep_their_pixels_as_continuous_actions(make_vector_env):
    env = make_vector_env(2, locations="continuous", grid_size=7)
    assert env.action_space.contains(SweepAgent(env.core).predict(DARK[:2])[0])
    core = env.core
    actions = actions_of_positions(core, np.arange(49))
    assert actions.dtype == np.float32
    offsets = core.locations.offsets(torch.from_numpy(actions))
    assert offsets.tolist() == core.grid.all_offsets().tolist()


def test_the_oracle_takes_the_position_of_highest_confidence(make_vector_env):
    env = make_vector_env(5, grid_size=4, reward="expected")
    env.reset(seed=0)
    oracle = GreedyOracle(env.core)
    chosen = set()
    for _ in range(4):
        confidences = confidences_at_all_positions(env.core)
        actions, state = oracle.predict(DARK)
        assert state is None
        assert actions.tolist() == confidences.argmax(dim=1).tolist()
        chosen |= set(actions.tolist())
        outcome = env.core.transition(torch.as_tensor(actions))
        torch.testing.assert_close(
            outcome.confidences, confidences.max(dim=1).values, rtol=0.0, atol=1e-5
        )
        torch.testing.assert_close(
            outcome.baseline_confidences, confidences.mean(dim=1), rtol=0.0, atol=1e-5
        )
    assert len(chosen) > 1
