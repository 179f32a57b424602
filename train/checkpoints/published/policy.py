"""The published policy network and ours: names, sizes, and what one can say that the other cannot.

The network is that of PUBLISHED.md, "Policy and its update"; its names in a file are in README.md
beside this.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from adafocus_env.networks import AnyRecognizer, CheckpointError
from adafocus_env.networks.weight_report import WeightReport, compare_weights
from agents.policies.gru_policy import GruActorCriticPolicy
from train.checkpoints.published.files import Weights

# Published name -> ours, by prefix. Batch normalisation moves the places of what follows it.
_HEADS = {"gru.": "gru.", "actor.0.": "actor.", "critic.0.": "critic."}
_NAMES = {
    "state_encoder.0.": "encoder.convolution.0.",
    "state_encoder.3.": "encoder.linear.1.",
    **_HEADS,
}
_NAMES_WITH_BATCH_NORM = {
    "state_encoder.0.": "encoder.convolution.0.",
    "state_encoder.1.": "encoder.convolution.1.",
    "state_encoder.4.": "encoder.linear.1.",
    "state_encoder.5.": "encoder.linear.2.",
    **_HEADS,
}
# Ours alone: the scale of standardised observations, which the published policy does not have.
_SCALE = ("encoder.mean", "encoder.std", "scale_is_fitted")
_LOCATION = 2  # outputs of a policy of continuous locations; no square grid has so few

# The commands' deviation of continuous locations, which no file holds.
PUBLISHED_ACTION_STD = 0.25


def policy_from_published(
    weights: Weights, recognizer: AnyRecognizer, path: Path
) -> tuple[GruActorCriticPolicy, WeightReport]:
    """Build the policy of a published file for a recognizer; see `published_policy`."""
    bound = float(recognizer.glancer.map_bound)
    return published_policy(weights, spaces.Box(0.0, bound, recognizer.observation_shape()), path)


def published_policy(
    weights: Weights, maps: spaces.Box, path: Path, *, action_std: float = PUBLISHED_ACTION_STD
) -> tuple[GruActorCriticPolicy, WeightReport]:
    """Build the policy of a published file of either family, with the `paper` preset's settings.

    Where weights are missing or of another shape, the report says so and the policy is unusable.

    Args:
        weights: under the published names; these tell whether it has batch normalisation.
        maps: `(C, h, w)` that it sees: of Something-Something those of a division, side by side.
        path: of the file, for messages.
        action_std: of continuous locations.

    Raises:
        CheckpointError: its actions are no square grid and no location, or it sees other maps.
    """
    batch_norm = "state_encoder.1.weight" in weights
    linear_name = "state_encoder.4.weight" if batch_norm else "state_encoder.3.weight"
    size_givers = ("state_encoder.0.weight", linear_name, "actor.0.weight")
    missing = [name for name in size_givers if name not in weights]
    if missing:
        raise CheckpointError(f"the policy in {path} has no {', '.join(missing)}")
    convolution, linear, actor = (weights[name] for name in size_givers)
    if (convolution.dim(), linear.dim(), actor.dim()) != (4, 2, 2) or 0 in convolution.shape:
        raise CheckpointError(f"the policy in {path} has weights of unknown shapes")
    _check_maps(convolution, linear, maps, path)
    actions = _action_space(len(actor), path)
    policy = GruActorCriticPolicy(
        spaces.Box(0.0, float(maps.high.max()), maps.shape, np.float32),
        actions,
        lambda _: 0.0,
        channels=convolution.shape[0],
        hidden_dim=len(linear),
        clamp_probs=True,
        batch_norm=batch_norm,
        action_std=action_std,
        clip_log_probs=isinstance(actions, spaces.Box),
    )
    ours, published = policy.state_dict(), published_policy_names(policy)
    report = compare_weights(weights, {name: ours[own] for name, own in published.items()})
    if report.complete:
        read = {own: weights[name] for name, own in published.items()}
        policy.load_state_dict({**ours, **read})
    policy.set_training_mode(False)
    return policy, report


def policy_to_published(policy: BasePolicy, folder: Path, *, family: str = "recurrent") -> Weights:
    """A policy's weights under the published names.

    Args:
        policy: of ours.
        folder: that it was read from, for messages.
        family: of the recognizer it goes with; only `"temporal_shift"` (Something-Something) has
            continuous locations and batch normalisation.

    Raises:
        CheckpointError: the published network cannot do what this policy does.
    """
    why = None
    if not isinstance(policy, GruActorCriticPolicy):
        raise CheckpointError(
            f"the published format cannot hold the policy in {folder}: it is a "
            f"{type(policy).__name__}, and only gru_ppo trains the published network"
        )
    encoder = policy.encoder
    if policy.is_spatial or not policy.recurrent:
        why = (
            "the published network has free logits and a GRU; train it with "
            "algo.policy_kwargs.head=flat and algo.policy_kwargs.recurrent=true"
        )
    elif len(policy.observation_space.shape or ()) != 3:
        why = 'it sees glance vectors; train it with observation="map"'
    elif bool(torch.any(encoder.mean != 0)) or bool(torch.any(encoder.std != 1)):
        why = (
            "it standardises its observations; train it with algo.preset=paper or "
            "algo.policy_kwargs.standardize=false"
        )
    elif family == "recurrent" and isinstance(policy.action_space, spaces.Box):
        why = "the ActivityNet family acts on a grid; train it with locations=grid"
    elif family == "recurrent" and policy.batch_norm:
        why = (
            "the ActivityNet family has no batch normalisation; train it with "
            "algo.policy_kwargs.batch_norm=false"
        )
    if why is not None:
        raise CheckpointError(f"the published format cannot hold the policy in {folder}: {why}")
    state = policy.state_dict()
    names = published_policy_names(policy).items()
    return {published: state[own].contiguous() for published, own in names}


def published_policy_names(policy: GruActorCriticPolicy) -> dict[str, str]:
    """Published names of all weights and statistics -> ours."""
    prefixes = _NAMES_WITH_BATCH_NORM if policy.batch_norm else _NAMES
    return {
        published + name.removeprefix(ours): name
        for name in policy.state_dict()
        if name not in _SCALE
        for published, ours in prefixes.items()
        if name.startswith(ours)
    }


def _check_maps(convolution: Tensor, linear: Tensor, maps: spaces.Box, path: Path) -> None:
    channels, map_channels = convolution.shape[:2]
    sees = (map_channels, linear.shape[1] // channels)
    given, height, width = maps.shape
    if sees != (given, height * width):
        raise CheckpointError(
            f"the policy in {path} sees glance maps of {sees[0]} channels and {sees[1]} positions, "
            f"but the glancer gives {given} and {height}x{width} positions: "
            "set glancer= and glance_size= as in its training"
        )


def _action_space(num_outputs: int, path: Path) -> spaces.Space[Any]:
    if num_outputs == _LOCATION:
        return spaces.Box(0.0, 1.0, (2,), np.float32)
    if math.isqrt(num_outputs) ** 2 != num_outputs:
        raise CheckpointError(
            f"the policy in {path} has {num_outputs} actions, which is no square grid"
        )
    return spaces.Discrete(num_outputs)
