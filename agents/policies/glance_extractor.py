"""GlanceMapExtractor: how `GruPPO` reads glance maps, for SB3's own policies."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from agents.policies.encoder import GlanceMapEncoder


class GlanceMapExtractor(BaseFeaturesExtractor):
    """`GlanceMapEncoder` as SB3's `features_extractor_class` (in configurations: `glance_map`).

    A 1x1 convolution before the linear layer: of a published glance map, 62,720 numbers, the first
    layer of an `MlpPolicy` alone would have millions of weights.

    Args:
        observation_space: `Box` of glance maps or vectors.
        channels: of the convolution.
        features_dim: size of the features.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], *, channels: int = 32, features_dim: int = 256
    ):
        super().__init__(observation_space, features_dim)
        assert observation_space.shape is not None
        self.encoder = GlanceMapEncoder(
            observation_space.shape, channels=channels, hidden_dim=features_dim
        )

    def forward(self, observations: Tensor) -> Tensor:
        """`(N, ...)` to `(N, features_dim)`."""
        features: Tensor = self.encoder(observations)
        return features
