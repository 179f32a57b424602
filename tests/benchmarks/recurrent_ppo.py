"""GruPPO and sb3-contrib's RecurrentPPO on the same 16 episodes of 16 full-size glance maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.gru_ppo.algorithm import GruPPO
from agents.policies.encoder import GlanceMapEncoder

ROWS, STEPS, HIDDEN, ACTIONS = 16, 16, 1024, 49
SHAPE = (1280, 7, 7)


class GivenMaps(VecEnv):
    """Given glance maps and random rewards: what is left is the algorithm's own work."""

    num_decisions = STEPS
    render_mode = None

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._maps = rng.uniform(0, 6, (STEPS, ROWS, *SHAPE)).astype(np.float32)
        self._rng, self._t = rng, 0
        space = spaces.Box(0.0, 6.0, SHAPE, np.float32)
        super().__init__(ROWS, space, spaces.Discrete(ACTIONS))

    def reset(self) -> np.ndarray:
        self._t = 0
        return self._maps[0]

    def step_async(self, actions: np.ndarray) -> None:
        del actions

    def step_wait(self) -> Any:
        self._t += 1
        over = self._t == STEPS
        self._t %= STEPS
        maps = self._maps[self._t]
        infos = [{"terminal_observation": maps[row]} if over else {} for row in range(ROWS)]
        rewards = self._rng.uniform(-0.1, 0.1, ROWS).astype(np.float32)
        return maps, rewards, np.full(ROWS, over), infos

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * ROWS

    def has_attr(self, attr_name: str) -> bool:
        return hasattr(self, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * ROWS


class Encoder(BaseFeaturesExtractor):
    """GruPPO's encoder for sb3-contrib."""

    def __init__(self, observation_space: spaces.Box):
        super().__init__(observation_space, HIDDEN)
        self.encoder = GlanceMapEncoder(SHAPE, hidden_dim=HIDDEN)

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.encoder(observations)
        return features


def gru_ppo() -> GruPPO:
    """One epoch, one batch."""
    torch.manual_seed(0)
    return GruPPO(env=GivenMaps(), seed=0, device="cpu", policy_kwargs={"hidden_dim": HIDDEN})


def recurrent_ppo(*, shared: bool) -> RecurrentPPO:
    """One epoch, one batch; `shared`: one LSTM for actor and critic instead of two."""
    kwargs: dict[str, Any] = {"shared_lstm": True, "enable_critic_lstm": False} if shared else {}
    return RecurrentPPO(
        "MlpLstmPolicy",
        GivenMaps(),
        n_steps=STEPS,
        batch_size=ROWS * STEPS,
        n_epochs=1,
        seed=0,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": Encoder,
            "normalize_images": False,
            "lstm_hidden_size": HIDDEN,
            "net_arch": [],
            **kwargs,
        },
    )


def made(name: str) -> Any:
    """`"gru"`, `"contrib"` or `"contrib_shared"`."""
    return gru_ppo() if name == "gru" else recurrent_ppo(shared=name == "contrib_shared")


class Update:
    """The update from one rollout; collecting it is not part of the repeat."""

    multiply_adds = 0.0

    def __init__(self, algorithm: Any):
        self._algorithm = algorithm
        _, self._callback = algorithm._setup_learn(10**9)
        algorithm.set_logger(Logger(folder=None, output_formats=[]))
        self.collect()

    def collect(self) -> None:
        """A rollout."""
        algorithm = self._algorithm
        algorithm.collect_rollouts(
            algorithm.env, self._callback, algorithm.rollout_buffer, algorithm.n_steps
        )

    def run(self) -> None:
        """One update; the rollout may be used again."""
        self._algorithm.train()


class Rollout(Update):
    """Collecting one rollout."""

    def run(self) -> None:
        """One rollout."""
        self.collect()
