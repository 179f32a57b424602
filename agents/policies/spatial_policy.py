"""The spatial head for SB3's own algorithms: `ppo`, `a2c`, `trpo`, and `recurrent_ppo`.

SB3 makes features of an observation and, of those alone, logits and a value. Here the glance map
travels beside the features, through extractor, LSTM and layers, to heads that read both: what SB3
computes is to them what the GRU's state is in `GruActorCriticPolicy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.policies.spatial_head import FrameScore, SpatialScorer


class FrameMeanExtractor(BaseFeaturesExtractor):
    """The mean of a glance map over space, as features (in configurations: `frame_mean`).

    Args:
        observation_space: `Box` of glance maps `(C, h, w)`.
    """

    def __init__(self, observation_space: spaces.Space[Any]):
        assert observation_space.shape is not None
        super().__init__(observation_space, observation_space.shape[0])

    def forward(self, observations: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C)`."""
        return observations.mean(dim=(-2, -1))


class SpatialPolicy(ActorCriticPolicy):
    """SB3's `ActorCriticPolicy` with one score a position (`algo.policy=SpatialPolicy`).

    Args:
        observation_space: `Box` of glance maps.
        action_space: `Discrete`: the positions of a grid, perhaps with one that skips.
        lr_schedule: as in SB3.
        patch_grid: the arguments of the `PatchGrid` that actions name, `patch_grid_numbers` of the
            environment's.
        head_dim: hidden layer of the scores and of the value.
        head_kernel: glance cells a side that are seen around each cell.
        dropout: of the scores' hidden layer.
        **kwargs: as in SB3. Features that are not asked for are the frame's mean.

    Raises:
        ValueError: there is nothing to score, or the grid is not said.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        patch_grid: Mapping[str, int] | None = None,
        head_dim: int = 64,
        head_kernel: int = 1,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        self._head_arguments: dict[str, Any] = {
            "patch_grid": patch_grid,
            "head_dim": head_dim,
            "head_kernel": head_kernel,
            "dropout": dropout,
        }
        kwargs.setdefault("features_extractor_class", FrameMeanExtractor)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The configured one, with the map beside its features."""
        return _FeaturesBesideMap(super().make_features_extractor())

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _LayersBesideMap(
            math.prod(self.observation_space.shape or ()),
            # What an LSTM makes of the features, where there is one.
            getattr(self, "lstm_output_dim", self.features_dim),
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            device=self.device,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        shape = self.observation_space.shape
        assert shape is not None
        numbers, hidden, kernel, dropout = self._head_arguments.values()
        latents = self.mlp_extractor.latent_dim_pi, self.mlp_extractor.latent_dim_vf
        scorer = SpatialScorer(
            *(shape, self.action_space, numbers, latents[0], hidden, kernel),
            # Free logits of features that remember nothing would be the flat head.
            remembers_places=hasattr(self, "lstm_output_dim"),
            dropout=dropout,
        )
        value = FrameScore(shape[0], latents[1], hidden)
        if self.ortho_init:
            scorer.init_orthogonal()
            value.apply(partial(self.init_weights, gain=1.0))
        self.action_net = _HeadBesideMap(scorer, shape)
        self.value_net = _HeadBesideMap(value, shape)  # type: ignore[assignment]
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self._head_arguments}


class _FeaturesBesideMap(BaseFeaturesExtractor):
    """Features, then the flattened map; `features_dim` counts the features alone."""

    def __init__(self, extractor: BaseFeaturesExtractor):
        super().__init__(extractor._observation_space, extractor.features_dim)
        self.extractor = extractor

    def forward(self, observations: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, features_dim + C * h * w)`."""
        return torch.cat([self.extractor(observations), observations.flatten(1)], dim=1)


class _LayersBesideMap(MlpExtractor):
    """SB3's layers over the features; the map goes past them."""

    def __init__(self, map_size: int, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._map_size = map_size

    def forward_actor(self, features: Tensor) -> Tensor:
        """`(N, F + map)` to `(N, F' + map)`."""
        return self._past(super().forward_actor, features)

    def forward_critic(self, features: Tensor) -> Tensor:
        """`(N, F + map)` to `(N, F' + map)`."""
        return self._past(super().forward_critic, features)

    def _past(self, layers: Any, features: Tensor) -> Tensor:
        inputs, beside = features[:, : -self._map_size], features[:, -self._map_size :]
        return torch.cat([layers(inputs), beside], dim=1)


class _HeadBesideMap(nn.Module):
    """A head on latents with the map behind them, as SB3 calls it."""

    def __init__(self, head: SpatialScorer | FrameScore, map_shape: tuple[int, ...]):
        super().__init__()
        self.head = head
        self._map_shape = map_shape

    def forward(self, latents: Tensor) -> Tensor:
        """`(N, F + map)` to logits `(N, A)` or a value `(N, 1)`."""
        channels, height, width = self._map_shape
        state, beside = latents.tensor_split([-channels * height * width], dim=1)
        maps = beside.reshape(-1, channels, height, width)
        mean = maps.mean(dim=(-2, -1))
        if isinstance(self.head, FrameScore):
            values: Tensor = self.head(mean, state)
            return values[:, None]
        logits: Tensor = self.head(maps, mean, state)
        return logits
