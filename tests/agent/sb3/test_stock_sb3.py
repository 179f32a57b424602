"""SB3's own algorithms train on the environment as it is."""

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from agents.sb3.vec_env import Sb3VecEnvAdapter

SETTINGS = {
    PPO: {"n_steps": 8, "batch_size": 8, "n_epochs": 2},
    A2C: {"n_steps": 4},
    DQN: {"buffer_size": 40, "learning_starts": 8, "batch_size": 8, "train_freq": 4},
    SAC: {"buffer_size": 40, "learning_starts": 8, "batch_size": 8, "train_freq": 4},
}


def _make(algorithm, env):
    settings = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [8]}}
    return algorithm("MlpPolicy", env, **settings, **SETTINGS[algorithm])


def _learns(model, steps):
    """A few steps move every weight that is trained to finite values."""
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(steps)
    assert model.num_timesteps >= steps
    assert len(model.ep_info_buffer or []) > 0
    after = model.policy.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.parametrize(
    ("algorithm", "observation"), [(PPO, "map"), (A2C, "vector"), (DQN, "vector")]
)
def test_an_algorithm_learns_on_the_adapter(make_vector_env, algorithm, observation):
    env = VecMonitor(Sb3VecEnvAdapter(make_vector_env(2, observation=observation)))
    _learns(_make(algorithm, env), 32)


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_an_algorithm_learns_continuous_locations(make_vector_env, algorithm):
    rows = make_vector_env(2, observation="vector", locations="continuous")
    _learns(_make(algorithm, VecMonitor(Sb3VecEnvAdapter(rows))), 24)


def test_sb3_evaluates_over_whole_episodes(make_vector_env):
    env = VecMonitor(Sb3VecEnvAdapter(make_vector_env(2, observation="vector")))
    model = _make(PPO, env)
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=4, return_episode_rewards=True)
    assert lengths == [4, 4, 4, 4]
    assert np.isfinite(returns).all()
