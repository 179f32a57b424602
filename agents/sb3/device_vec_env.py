"""DeviceVecEnv: observations stay on the device, under SB3's unchanged on-policy algorithms."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.sb3.vec_env import Sb3VecEnvAdapter, sb3_infos

OBSERVATION_KEY = "glance"


class DeviceVecEnv(Sb3VecEnvAdapter):
    """The adapter with observations `{"glance": tensor}` where the recognizer is.

    SB3 turns arrays into tensors but takes a dict of tensors as it is, so `MultiInputPolicy` with a
    `DeviceRolloutBuffer` trains without moving observations at all:

        env = VecMonitor(DeviceVecEnv(vector_env))
        PPO("MultiInputPolicy", env, rollout_buffer_class=DeviceRolloutBuffer, device="cuda")

    Args:
        env: in autoreset mode `"same_step"`, and unwrapped.
    """

    env: PatchLocalizationVectorEnv

    def __init__(self, env: PatchLocalizationVectorEnv):
        super().__init__(env)
        self.observation_space = spaces.Dict({OBSERVATION_KEY: env.single_observation_space})

    def reset(self) -> VecEnvObs:
        """Begin new episodes, with the seeds and options set before, if any."""
        super().reset()
        observations: VecEnvObs = self._observations()
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """SB3's 4-tuple."""
        rewards, terminated, truncated, infos = self.env.step_unseen(self._actions)
        listed = sb3_infos(infos, terminated, truncated, self.reset_infos)
        return self._observations(), rewards.astype(np.float32), terminated | truncated, listed

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """As of the adapter; episodes that are begun again are seen as these here are."""
        result = super().env_method(method_name, *method_args, indices=indices, **method_kwargs)
        if method_name == "restore_rows":
            result = [self._observations()] * self.num_envs
        return result

    def _observations(self) -> Any:
        return {OBSERVATION_KEY: self.env.core.observe()}
