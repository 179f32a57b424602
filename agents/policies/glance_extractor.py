"""GlanceMapExtractor: how `GruPPO` reads glance maps, for SB3's own policies."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from agents.policies.encoder import GlanceMapEncoder
from agents.policies.observations import (
    Observations,
    beside_size,
    glance_of,
    glance_space,
    seen_beside,
)


class GlanceMapExtractor(BaseFeaturesExtractor):
    """`GlanceMapEncoder` as SB3's `features_extractor_class` (in configurations: `glance_map`).

    A 1x1 convolution before the linear layer: of a published glance map, 62,720 numbers, the first
    layer of an `MlpPolicy` alone would have millions of weights.

    Args:
        observation_space: `Box` of glance maps or vectors; or of a closed loop: features of the
            glance, and beside them what else is observed.
        channels: of the convolution.
        features_dim: size of the features.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], *, channels: int = 32, features_dim: int = 256
    ):
        super().__init__(observation_space, features_dim + beside_size(observation_space))
        shape = glance_space(observation_space).shape
        self.encoder = GlanceMapEncoder(shape, channels=channels, hidden_dim=features_dim)

    def forward(self, observations: Observations) -> Tensor:
        """`(N, ...)` to `(N, features_dim)`."""
        features: Tensor = self.encoder(glance_of(observations))
        beside = seen_beside(observations)
        return features if beside is None else torch.cat([features, beside], dim=1)
