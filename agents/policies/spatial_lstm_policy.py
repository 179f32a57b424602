"""SpatialLstmPolicy: the spatial head behind sb3-contrib's LSTM. Needs sb3-contrib."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.policies.spatial_policy import SpatialPolicy


class SpatialLstmPolicy(SpatialPolicy, RecurrentActorCriticPolicy):
    """One score a position, with memory (`algo=recurrent_ppo algo.policy=SpatialLstmPolicy`).

    Args:
        observation_space: this and `action_space`, `lr_schedule`: as of `SpatialPolicy`.
        **kwargs: as of `SpatialPolicy` and of sb3-contrib's policy.

    Raises:
        ValueError: a critic that has neither the shared LSTM nor its own.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        **kwargs: Any,
    ):
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)
        if self.critic is not None:
            raise ValueError(
                "SpatialLstmPolicy needs shared_lstm=True, or enable_critic_lstm=True, in "
                "policy_kwargs"
            )

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, Tensor]:
        """The LSTM over the features; the map goes past it."""
        inputs, beside = features.tensor_split([lstm.input_size], dim=1)
        outputs, states = RecurrentActorCriticPolicy._process_sequence(
            inputs, lstm_states, episode_starts, lstm
        )
        return torch.cat([outputs, beside], dim=1), states
