"""CenteredActions: continuous locations in -1..1, as SB3's algorithms expect actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class CenteredActions(VecEnvWrapper):
    """Actions (row, column) in -1..1; 0 is the middle of the frame.

    A new Gaussian policy acts around 0. In the environment's own 0..1 that is the upper left
    corner, and half of its actions would be cut off there.

    Args:
        venv: with actions in a `Box` of finite bounds.
    """

    def __init__(self, venv: VecEnv):
        space = venv.action_space
        assert isinstance(space, spaces.Box)
        self._low, self._width = space.low, space.high - space.low
        super().__init__(venv, action_space=spaces.Box(-1.0, 1.0, space.shape, np.float32))

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        return self.venv.reset()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Begin a step."""
        fractions = (np.asarray(actions) + 1.0) / 2.0
        scaled = (self._low + self._width * fractions).astype(np.float32)
        self.venv.step_async(scaled.clip(self._low, self._low + self._width))

    def step_wait(self) -> VecEnvStepReturn:
        """End a step."""
        return self.venv.step_wait()
