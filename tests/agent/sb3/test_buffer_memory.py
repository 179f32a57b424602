"""Sizes of buffers, worked out by hand and compared with what SB3 allocates."""

import math

import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from adafocus_env.envs import ActiveVisionVectorEnv
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.buffer_memory import buffer_size
from agents.sb3.vec_env import Sb3VecEnvAdapter

VECTORS = spaces.Box(0.0, 6.0, (48,), np.float32)
GRID = spaces.Discrete(49)


def _size(algorithm, **arguments):
    return buffer_size(algorithm, arguments, VECTORS, GRID, num_rows=4, num_decisions=8)


def test_a_replay_buffer_holds_every_observation_twice():
    # Observation and the next one, 48 float32 each; an int64 action; reward, done and timeout.
    size = _size(DQN, buffer_size=1000)
    assert (size.what, size.transitions) == ("replay buffer", 1000)
    assert size.num_bytes == 1000 * (2 * 48 * 4 + 8 + 3 * 4)
    assert str(size) == "replay buffer of 1,000 steps, 404.0 kB"


def test_a_rollout_buffer_is_copied_once_to_be_shuffled_and_an_lstm_keeps_four_states_a_step():
    size = _size(PPO, n_steps=16)
    assert (size.what, size.transitions) == ("rollout buffer", 64)
    assert size.num_bytes == 64 * (2 * 48 * 4 + 8 + 6 * 4)
    kwargs = {"lstm_hidden_size": 32, "n_lstm_layers": 2}
    size = _size(RecurrentPPO, n_steps=16, policy_kwargs=kwargs)
    assert size.num_bytes == 64 * (2 * (48 * 4 + 4 * 4 * 64) + 8 + 6 * 4)


def test_defaults_are_the_constructors_also_through_a_subclass_that_hands_them_on():
    assert _size(GruPPO).transitions == 4 * 8  # whole episodes
    assert _size(GruPPO, episodes_per_row=3).transitions == 3 * 4 * 8

    class Own(DQN):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert _size(Own).transitions == 1_000_000
    assert _size(PPO).transitions == 4 * 2048

    class Unknown(BaseAlgorithm):
        pass

    assert _size(Unknown) is None


def test_a_closed_loops_rollout_holds_each_glance_once(tiny_recognizer, make_videos):
    rules = {"num_envs": 3, "looks_per_frame": 5}
    env = ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)
    model = GruPPO(env=Sb3VecEnvAdapter(env), policy_kwargs={"hidden_dim": 4}, device="cpu")
    given = env.single_observation_space, env.single_action_space
    size = buffer_size(GruPPO, {}, *given, num_rows=3, num_decisions=20, looks_per_frame=5)
    model.learn(3 * 20)
    (part,) = model.rollout_buffer._parts
    held = sum(values.numel() * values.element_size() for values in part["observations"].values())
    # Twice, because steps are joined; then an int64 action and six numbers a step.
    assert (size.transitions, size.num_bytes) == (60, 2 * held + 60 * (8 + 6 * 4))
    each = buffer_size(GruPPO, {}, *given, num_rows=3, num_decisions=20)
    assert each.num_bytes - size.num_bytes == 2 * 3 * (20 - 4) * 4 * math.prod(
        env.core.source.observation_shape
    )


@pytest.mark.parametrize("algorithm", [DQN, SAC])
def test_the_size_is_what_sb3_allocates(make_adapter, algorithm):
    locations = "grid" if algorithm is DQN else "continuous"
    env = make_adapter(3, observation="vector", locations=locations)
    model = algorithm("MlpPolicy", env, buffer_size=100, device="cpu")
    buffer = model.replay_buffer
    arrays = [value for value in vars(buffer).values() if isinstance(value, np.ndarray)]
    spaces = env.observation_space, env.action_space
    given = {"buffer_size": 100}
    size = buffer_size(algorithm, given, *spaces, num_rows=3, num_decisions=4)
    assert size.num_bytes == sum(array.nbytes for array in arrays)
    assert size.transitions == 99
