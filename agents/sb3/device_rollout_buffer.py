"""DeviceRolloutBuffer: SB3's rollout buffer with its observations on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from torch import Tensor


class DeviceRolloutBuffer(DictRolloutBuffer):
    """Keeps tensors of observations as they are, for unchanged PPO, A2C and TRPO.

    For `rollout_buffer_class`, with a `DeviceVecEnv` and a `MultiInputPolicy`. Observations neither
    leave the device nor are converted once a minibatch; the few numbers beside them are NumPy's,
    as in SB3.
    """

    observations: dict[str, Tensor]  # type: ignore[assignment]

    def reset(self) -> None:
        """Forget everything."""
        super().reset()  # its arrays of zeros take no memory before they are written
        self.observations = {
            key: torch.zeros((self.buffer_size, self.n_envs, *shape), device=self.device)
            for key, shape in self.obs_shape.items()
        }

    def add(  # type: ignore[override]
        self,
        obs: dict[str, Tensor],
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        episode_start: npt.NDArray[Any],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """One step of every row; observations `(N, ...)` on the device."""
        position, kept = self.pos, self.observations
        for key, stored in kept.items():
            stored[position] = obs[key]
        self.observations = {}  # what is left is SB3's to store, and observations are not
        super().add({}, action, reward, episode_start, value, log_prob)
        self.observations = kept

    def to_torch(self, array: npt.NDArray[Any] | Tensor, copy: bool = True) -> Tensor:
        """An array on the device; a tensor is there already."""
        return array if isinstance(array, Tensor) else super().to_torch(np.asarray(array), copy)
