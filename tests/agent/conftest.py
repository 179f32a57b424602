"""What the tests of agents share: toy environments, small policies, and a look into rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.gru_ppo.algorithm import GruPPO
from agents.gru_ppo.episode_buffer import Episodes
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.vec_env import Sb3VecEnvAdapter

SMALL = {"channels": 4, "hidden_dim": 8}


class CueEnv(gym.Env[np.ndarray, Any]):
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
        self,
        *,
        num_steps: int = 3,
        said: int | None = None,
        shape: tuple[int, ...] = (4, 1, 1),
        num_actions: int = 4,
        fixed: int | None = None,
        reward: float = 1.0,
    ):
        self.observation_space = spaces.Box(0.0, 6.0, shape, np.float32)
        self.action_space: spaces.Space[Any] = spaces.Discrete(num_actions)
        self.num_decisions = num_steps if said is None else said
        self._num_steps = num_steps
        self._num_actions = num_actions
        self._fixed = fixed
        self._reward = reward

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(self._num_actions))
        self._cue = drawn if self._fixed is None else self._fixed
        self._step = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._step += 1
        reward = self._reward * float(int(action) == self._cue)
        return self._observation(), reward, self._step == self._num_steps, False, {}

    def _observation(self) -> np.ndarray:
        shape = self.observation_space.shape
        assert shape is not None
        observation = np.zeros(shape, np.float32)
        if self._step == 0:
            observation[self._cue] = 6.0
        return observation


class PassThrough(VecEnvWrapper):
    """A wrapper that changes nothing; but `GruPPO` cannot know that."""

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        return self.venv.step_wait()


class Spy(BaseCallback):
    """Remembers every rollout, the weights before its update, and the videos it showed."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[Episodes] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        self.videos: list[list[int]] = []
        self.steps_before_rollouts: list[int] = []
        self.calls = 0

    def _on_rollout_start(self) -> None:
        self.steps_before_rollouts.append(self.num_timesteps)
        env = self.training_env.unwrapped
        if isinstance(env, Sb3VecEnvAdapter) and hasattr(env.env, "core"):
            self.videos.append([start.video_index for start in env.env.core.starts])

    def _on_step(self) -> bool:
        self.calls += 1
        return True

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, GruPPO)
        self.rollouts.append(self.model.rollout_buffer.episodes())
        state = self.model.policy.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})


class Recorder(KVWriter):
    """Keeps what is logged, one dict a dump."""

    def __init__(self) -> None:
        self.dumps: list[dict[str, Any]] = []

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        self.dumps.append(dict(key_values))

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="session")
def cue_env() -> type[CueEnv]:
    """A toy whose best action is shown once, at the first step; see `CueEnv`."""
    return CueEnv


@pytest.fixture(scope="session")
def pass_through() -> type[PassThrough]:
    """A `VecEnvWrapper` that changes nothing."""
    return PassThrough


@pytest.fixture
def spy() -> type[Spy]:
    """A callback that remembers rollouts, weights and videos."""
    return Spy


@pytest.fixture
def assert_rollouts_equal() -> Callable[..., None]:
    """Compares what two spies saw, name by name."""

    def compare(played: Spy, stepped: Spy, atol: float) -> None:
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
def record() -> Callable[[GruPPO], list[dict[str, Any]]]:
    """Replaces a model's logger; returns the list that its dumps go to."""

    def attach(model: GruPPO) -> list[dict[str, Any]]:
        recorder = Recorder()
        model.set_logger(Logger(folder=None, output_formats=[recorder]))
        return recorder.dumps

    return attach


@pytest.fixture
def make_policy() -> Callable[..., GruActorCriticPolicy]:
    """Makes a small policy with seeded weights; takes its arguments, `shape` and `actions`.

    `actions=None` makes one for continuous locations.
    """

    def make(
        *,
        shape: tuple[int, ...] = (3, 2, 2),
        actions: int | None = 5,
        seed: int = 0,
        **arguments: Any,
    ) -> GruActorCriticPolicy:
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
def make_adapter(make_vector_env: Callable[..., Any]) -> Callable[..., Sb3VecEnvAdapter]:
    """Makes the environment over `InMemoryVideos` as an SB3 `VecEnv`; takes the rules."""

    def make(num_envs: int = 3, **rules: Any) -> Sb3VecEnvAdapter:
        return Sb3VecEnvAdapter(make_vector_env(num_envs, **rules))

    return make


@pytest.fixture
def make_model() -> Callable[..., GruPPO]:
    """Makes a `GruPPO` with small networks; takes an SB3 `VecEnv` and its arguments."""

    def make(env: Any, *, policy_kwargs: dict[str, Any] | None = None, **arguments: Any) -> GruPPO:
        arguments = {"seed": 0, "device": "cpu", **arguments}
        return GruPPO(env=env, policy_kwargs={**SMALL, **(policy_kwargs or {})}, **arguments)

    return make
