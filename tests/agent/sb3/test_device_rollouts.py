"""Observations on the device: SB3's algorithms learn exactly what they learn from arrays."""

import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecMonitor

from agents.policies.glance_extractor import GlanceMapExtractor
from agents.sb3.device_rollout_buffer import DeviceRolloutBuffer
from agents.sb3.device_vec_env import DeviceVecEnv
from agents.sb3.vec_env import Sb3VecEnvAdapter

N, T = 3, 4


def _model(algorithm, env, *, on_device, **given):
    kwargs = {"net_arch": [8], **given.pop("policy_kwargs", {})}
    if on_device:
        given["rollout_buffer_class"] = DeviceRolloutBuffer
    if algorithm is PPO:
        given = {"batch_size": 6, "n_epochs": 2, **given}
    model: OnPolicyAlgorithm = algorithm(
        "MultiInputPolicy" if on_device else "MlpPolicy",
        VecMonitor(env),
        n_steps=2 * T,
        seed=0,
        device="cpu",
        policy_kwargs=kwargs,
        **given,
    )
    env.seed(5)
    return model


@pytest.mark.parametrize("extractor", [None, GlanceMapExtractor])
@pytest.mark.parametrize("observation", ["map", "vector"])
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_training_on_the_device_equals_training_through_numpy(
    make_vector_env, algorithm, observation, extractor
):
    kwargs = {} if extractor is None else {"features_extractor_class": extractor}
    models = []
    for on_device in (False, True):
        env = make_vector_env(N, observation=observation)
        adapter = DeviceVecEnv(env) if on_device else Sb3VecEnvAdapter(env)
        model = _model(algorithm, adapter, on_device=on_device, policy_kwargs=kwargs)
        models.append(model.learn(4 * N * T))
    one, other = (model.policy.state_dict() for model in models)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    assert list(models[0].ep_info_buffer or []) != []
    rewards = [[info["r"] for info in model.ep_info_buffer or []] for model in models]
    assert rewards[0] == rewards[1]


def test_observations_are_never_arrays(make_vector_env, monkeypatch):
    env = make_vector_env(N)
    copies = []
    observe = type(env)._observation
    monkeypatch.setattr(
        type(env), "_observation", lambda self: (copies.append(1), observe(self))[1]
    )
    adapter = DeviceVecEnv(env)
    assert adapter.observation_space == spaces.Dict({"glance": env.single_observation_space})
    seen = adapter.reset()
    taken = len(copies)
    for _ in range(T - 1):
        seen, _, dones, _ = adapter.step(np.zeros(N, np.int64))
    assert not dones.any()
    assert isinstance(seen, dict)
    assert seen["glance"].device == env.core.source.device
    assert torch.is_tensor(seen["glance"])
    assert len(copies) == taken


def test_its_steps_are_those_of_the_adapter(make_vector_env, assert_equal):
    one, other = Sb3VecEnvAdapter(make_vector_env(N)), DeviceVecEnv(make_vector_env(N))
    for env in (one, other):
        env.seed(1)
    assert_equal(one.reset(), other.reset()["glance"].numpy())
    for t in range(2 * T):
        actions = np.arange(N) + t
        (seen, *rest), (on_device, *others) = one.step(actions), other.step(actions)
        assert_equal(seen, on_device["glance"].numpy())
        assert_equal(tuple(rest), tuple(others))
        assert_equal(one.reset_infos, other.reset_infos)


def test_a_buffer_keeps_copies_and_hands_out_tensors():
    space = spaces.Dict({"glance": spaces.Box(0.0, 6.0, (2,), np.float32)})
    buffer = DeviceRolloutBuffer(2, space, spaces.Discrete(4), device="cpu", n_envs=2)
    for step in range(2):
        seen = torch.full((2, 2), float(step))
        zeros = torch.zeros(2)
        buffer.add(
            {"glance": seen}, np.array([0, 1]), np.zeros(2), np.zeros(2), zeros, zeros
        )  # fmt: skip
        seen += 100.0
    buffer.compute_returns_and_advantage(torch.zeros(2), np.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (samples,) = buffer.get()
    got = samples.observations["glance"]
    assert sorted(got.tolist()) == [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    buffer.reset()
    assert not buffer.full
    assert buffer.observations["glance"].shape == (2, 2, 2)
