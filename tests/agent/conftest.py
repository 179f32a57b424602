"""What the tests of agents share: toy environments, small policies, and a look into rollouts."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnvWrapper

from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.vec_env import Sb3VecEnvAdapter

SMALL = {"channels": 4, "hidden_dim": 8}


class CueEnv(gym.Env):
    """T steps; the first map lights one channel, and action k of that channel pays 1, always.

    After the first step maps are dark, so later rewards need memory.

    Args:
        num_steps: T.
        said: steps that `num_decisions` claims; None says the truth.
        shape: of a map; as many actions as channels that can be lit.
        num_actions: A; no more than channels.
        fixed: light this channel in every episode.
        reward: paid instead of 1.
    """

    def __init__(
        self, *, num_steps=3, said=None, shape=(4, 1, 1), num_actions=4, fixed=None, reward=1.0
    ):
        self.observation_space = spaces.Box(0.0, 6.0, shape, np.float32)
        self.action_space = spaces.Discrete(num_actions)
        self.num_decisions = num_steps if said is None else said
        self._num_steps = num_steps
        self._num_actions = num_actions
        self._fixed = fixed
        self._reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(self._num_actions))
        self._cue = drawn if self._fixed is None else self._fixed
        self._step = 0
        return self._observation(), {}

    def step(self, action):
        self._step += 1
        reward = self._reward * float(int(action) == self._cue)
        return self._observation(), reward, self._step == self._num_steps, False, {}

    def _observation(self):
        observation = np.zeros(self.observation_space.shape, np.float32)
        if self._step == 0:
            observation[self._cue] = 6.0
        return observation


class PassThrough(VecEnvWrapper):
    """A wrapper that changes nothing; but `GruPPO` cannot know that."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        return self.venv.step_wait()


class Spy(BaseCallback):
    """Remembers every rollout, the weights before its update, and the videos it showed."""

    def __init__(self):
        super().__init__()
        self.rollouts = []
        self.weights = []
        self.videos = []
        self.steps_before_rollouts = []
        self.calls = 0

    def _on_rollout_start(self):
        self.steps_before_rollouts.append(self.num_timesteps)
        env = self.training_env.unwrapped
        if isinstance(env, Sb3VecEnvAdapter) and hasattr(env.env, "core"):
            self.videos.append([start.video_index for start in env.env.core.starts])

    def _on_step(self):
        self.calls += 1
        return True

    def _on_rollout_end(self):
        self.rollouts.append(self.model.rollout_buffer.episodes())
        state = self.model.policy.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})


class Recorder(KVWriter):
    """Keeps what is logged, one dict a dump."""

    def __init__(self):
        self.dumps = []

    def write(self, key_values, key_excluded, step=0):
        self.dumps.append(dict(key_values))

    def close(self):
        pass


@pytest.fixture(scope="session")
def cue_env():
    """A toy whose best action is shown once, at the first step; see `CueEnv`."""
    return CueEnv


@pytest.fixture(scope="session")
def pass_through():
    """A `VecEnvWrapper` that changes nothing."""
    return PassThrough


@pytest.fixture
def spy():
    """A callback that remembers rollouts, weights and videos."""
    return Spy


@pytest.fixture
def assert_rollouts_equal():
    """Compares what two spies saw, name by name."""

    def compare(played, stepped, atol):
        assert len(played.rollouts) == len(stepped.rollouts)
        for one, other in zip(played.rollouts, stepped.rollouts, strict=True):
            if one.actions.dtype == torch.int64:
                assert one.actions.tolist() == other.actions.tolist()
            for name, value in vars(one).items():
                torch.testing.assert_close(
                    value, vars(other)[name], rtol=0.0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
                )

    return compare


@pytest.fixture
def record():
    """Replaces a model's logger; returns the list that its dumps go to."""

    def attach(model):
        recorder = Recorder()
        model.set_logger(Logger(folder=None, output_formats=[recorder]))
        return recorder.dumps

    return attach


@pytest.fixture
def make_policy():
    """Makes a small policy with seeded weights; takes its arguments, `shape` and `actions`.

    `actions=None` makes one for continuous locations.
    """

    def make(*, shape=(3, 2, 2), actions=5, seed=0, **arguments):
        anywhere = spaces.Box(0.0, 1.0, (2,), np.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GruActorCriticPolicy(
                spaces.Box(0.0, 6.0, shape, np.float32),
                anywhere if actions is None else spaces.Discrete(actions),
                lambda _: 1e-3,
                **{**SMALL, **arguments},
            )

    return make


@pytest.fixture
def make_adapter(make_vector_env):
    """Makes the environment over `InMemoryVideos` as an SB3 `VecEnv`; takes the rules."""

    def make(num_envs=3, **rules):
        return Sb3VecEnvAdapter(make_vector_env(num_envs, **rules))

    return make


@pytest.fixture
def make_model():
    """Makes a `GruPPO` with small networks; takes an SB3 `VecEnv` and its arguments."""

    def make(env, *, policy_kwargs=None, **arguments):
        arguments = {"seed": 0, "device": "cpu", **arguments}
        return GruPPO(env=env, policy_kwargs={**SMALL, **(policy_kwargs or {})}, **arguments)

    return make
