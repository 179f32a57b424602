"""GruActorCriticPolicy: a policy that remembers what earlier glances showed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.policies.distributions import ActionDistribution, make_action_head
from agents.policies.encoder import GlanceMapEncoder, GlanceScale, init_reactive
from agents.policies.loop_head import LoopScorer
from agents.policies.observations import (
    GLANCE,
    Observations,
    beside_glance,
    beside_size,
    each,
    glance_of,
    glance_space,
    repeated,
    seen_beside,
)
from agents.policies.spatial_head import FrameScore, SpatialScorer
from agents.policies.stepping_policy import SteppingPolicy


class GruActorCriticPolicy(SteppingPolicy):
    """Encoder, one-layer GRU, and a head for where to look and for the value.

    The state is an argument and a result. `step` acts one frame at a time; `evaluate_episodes` runs
    whole episodes from the zero state, which is what training uses. On a grid it chooses among the
    positions; in continuous locations it draws from a Gaussian around a mean.

    The published head is linear in the GRU's state (`"flat"`): free logits of the positions. The
    other one (`"spatial"`) scores each position of a grid by what the glance shows there.

    In training mode batch normalisation uses the statistics of all frames passed in at once, else
    its running ones.

    Args:
        observation_space: `Box` of glance maps or vectors; or of a closed loop, a `Dict` with them
            under `glance` and vectors beside them, which are put beside the GRU's state.
        action_space: `Discrete`, or `Box(0, 1, (2,))`.
        lr_schedule: learning rate over the remaining progress.
        use_sde: must be False; there for SB3's constructor.
        head: `"flat"` or `"spatial"`.
        recurrent: False leaves out the GRU: each frame is acted on by itself. With the spatial head
            there is no encoder then either.
        channels: of the encoder's convolution.
        hidden_dim: of the encoder and the GRU.
        patch_grid: of the spatial head: the arguments of the `PatchGrid` that actions name. GruPPO
            asks its environment.
        head_dim: hidden layer of the spatial head.
        head_kernel: glance cells a side that the spatial head sees around each cell.
        dropout: of the spatial head's hidden layer.
        detach_value: keep the value loss from shaping encoder and GRU. Not published; the demo's
            policies learn better with it.
        standardize: scale observations per channel, by statistics of the first frames seen.
        orthogonal: orthogonal initialisation with small action logits; False is PyTorch's own,
            as published.
        clamp_probs: log-probabilities of the softmax clamped to float32's resolution, as published;
            False is log-softmax, which differs below 1e-7.
        batch_norm: batch normalisation in the encoder, as published for Something-Something, and
            in the spatial head.
        action_std: standard deviation of continuous locations, as fractions of the free range.
        clip_log_probs: log-probabilities of continuous locations after clipping to the frame, as
            published, instead of before it.
        optimizer_class: this and `optimizer_kwargs`: as in SB3.

    Attributes:
        sees_cost: whether a last channel shows it the price of a look (`skip_cost="random"`).

    Raises:
        ValueError: a space that it cannot act in, or a head that does not fit it.
    """

    sees_cost: bool = False
    scale_is_fitted: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        use_sde: bool = False,
        *,
        head: str = "flat",
        recurrent: bool = True,
        channels: int = 32,
        hidden_dim: int = 1024,
        patch_grid: Mapping[str, int] | None = None,
        head_dim: int = 64,
        head_kernel: int = 1,
        dropout: float = 0.0,
        detach_value: bool = False,
        standardize: bool = False,
        orthogonal: bool = False,
        clamp_probs: bool = True,
        batch_norm: bool = False,
        action_std: float = 0.25,
        clip_log_probs: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ):
        action_head = make_action_head(
            action_space,
            clamp_probs=clamp_probs,
            action_std=action_std,
            clip_log_probs=clip_log_probs,
        )
        shape = glance_space(observation_space).shape
        beside, num_beside = beside_glance(observation_space), beside_size(observation_space)
        if head not in ("flat", "spatial"):
            raise ValueError(f"head is 'flat' or 'spatial', not {head!r}")
        if use_sde:
            raise ValueError("GruActorCriticPolicy has no state-dependent exploration")
        super().__init__(
            observation_space,
            action_space,
            # Maps are no images: SB3 must not divide them by 255.
            normalize_images=False,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        self._arguments = {
            "head": head,
            "recurrent": recurrent,
            "channels": channels,
            "hidden_dim": hidden_dim,
            "patch_grid": patch_grid,
            "head_dim": head_dim,
            "head_kernel": head_kernel,
            "dropout": dropout,
            "detach_value": detach_value,
            "standardize": standardize,
            "orthogonal": orthogonal,
            "clamp_probs": clamp_probs,
            "batch_norm": batch_norm,
            "action_std": action_std,
            "clip_log_probs": clip_log_probs,
        }
        self.hidden_dim = hidden_dim
        self.detach_value = detach_value
        self.batch_norm = batch_norm
        self.head = action_head
        self.is_spatial = head == "spatial"
        self.recurrent = recurrent
        # Kept with the weights, so that a loaded policy does not fit its scale again.
        self.register_buffer("scale_is_fitted", torch.tensor(not standardize))
        self.encoder = GlanceScale(shape, standardize=standardize)
        if recurrent or not self.is_spatial:
            self.encoder = GlanceMapEncoder(
                shape,
                channels=channels,
                hidden_dim=hidden_dim,
                standardize=standardize,
                batch_norm=batch_norm,
            )
        self.gru = nn.GRU(hidden_dim, hidden_dim, batch_first=True) if recurrent else None
        self.beside = nn.Linear(num_beside, hidden_dim) if recurrent and num_beside else None
        self.actor: nn.Module
        self.critic: nn.Module
        if self.is_spatial:
            state_dim = hidden_dim * recurrent + num_beside
            sizes = (shape, action_space, patch_grid, state_dim, head_dim, head_kernel)
            more: dict[str, Any] = {"dropout": dropout, "batch_norm": batch_norm}
            more["remembers_places"] = recurrent
            if "origin" in beside:
                patch = beside["patch"].shape if "patch" in beside else None
                self.actor = LoopScorer(*sizes, patch_features=(patch or (0,))[0], **more)
            else:
                self.actor = SpatialScorer(*sizes, **more)
            self.critic = FrameScore(shape[0], state_dim, head_dim)
        else:
            self.actor = nn.Linear(hidden_dim + num_beside, action_head.num_outputs)
            self.critic = nn.Linear(hidden_dim + num_beside, 1)
        if orthogonal:
            self._init_orthogonal()
        self.optimizer = optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def initial_state(self, num_rows: int) -> Tensor:
        """`(N, S)` zeros; S is 0 without recurrence."""
        return torch.zeros(num_rows, self.hidden_dim * self.recurrent, device=self.device)

    def fit_scale_once(self, glances: Tensor) -> None:
        """Standardise by these glances `(N, ...)`, unless that has been done or is off."""
        if not bool(self.scale_is_fitted):
            self.encoder.fit_scale(glances)
            self.scale_is_fitted.fill_(True)

    def _act(
        self, observations: Observations, policy_state: Tensor
    ) -> tuple[ActionDistribution, Tensor, Tensor]:
        seen = self._scaled(observations)
        now = each(seen, lambda part: part[:, None])
        features, last = self._features(now, policy_state[None].contiguous())
        return *self._heads(seen, features[:, 0]), last[0]

    def evaluate_episodes(
        self, observations: Observations, *, looks_per_frame: int = 1
    ) -> tuple[ActionDistribution, Tensor]:
        """Whole episodes from the zero state.

        Args:
            observations: `(N, T, ...)`; the glances `(N, T / looks_per_frame, ...)`.
            looks_per_frame: steps in a row that see the same glance; networks run on it once.

        Returns:
            the distribution of actions, batch shape `(N, T)`, and values `(N, T)`.
        """
        seen = self._scaled(observations)
        features, _ = self._features(seen, looks_per_frame=looks_per_frame)
        return self._heads(seen, features, looks_per_frame)

    def _scaled(self, observations: Observations) -> Observations:
        scaled = self.encoder.scaled(glance_of(observations))
        return {**observations, GLANCE: scaled} if isinstance(observations, dict) else scaled

    def _features(
        self, seen: Observations, state: Tensor | None = None, looks_per_frame: int = 1
    ) -> tuple[Tensor, Tensor]:
        """What the heads get of steps `(N, T, ...)` beside them: `(N, T, S)`, and a new state."""
        glances, beside = glance_of(seen), seen_beside(seen)
        leading = glances.shape[:2]
        if isinstance(self.encoder, GlanceMapEncoder):
            features = self.encoder.encode(glances.flatten(0, 1)).unflatten(0, leading)
        else:
            features = glances.new_zeros(*leading, 0)
        features = repeated(features, looks_per_frame)
        last = features[None, :, 0, :0]
        if self.gru is not None:
            if self.beside is not None:
                features = features + self.beside(beside)
            features, last = self.gru(features, state)
        return features if beside is None else torch.cat([features, beside], dim=-1), last

    def _heads(
        self, seen: Observations, features: Tensor, looks_per_frame: int = 1
    ) -> tuple[ActionDistribution, Tensor]:
        for_value = features.detach() if self.detach_value else features
        if not self.is_spatial:
            return self.head.distribution(self.actor(features)), self.critic(for_value)[..., 0]
        glances = glance_of(seen)
        mean = repeated(glances.mean(dim=(-2, -1)), looks_per_frame)
        beside: dict[str, Tensor] = {}
        if isinstance(self.actor, LoopScorer):
            assert isinstance(seen, dict)
            beside = {name: seen[name] for name in ("origin", "patch") if name in seen}
        logits = self.actor(glances, mean, features, **beside)
        return self.head.distribution(logits), self.critic(mean, for_value)

    def _init_orthogonal(self) -> None:
        for module in (self.encoder, self.critic):
            module.apply(partial(self.init_weights, gain=2**0.5))
        if isinstance(self.actor, SpatialScorer):
            self.actor.init_orthogonal()
        else:
            self.init_weights(self.actor, gain=0.01)
        if self.gru is not None:
            init_reactive(self.gru)
