"""The published policy network and ours: names, sizes, and what one can say that the other cannot.

REFERENCE sections 1A and 8.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.networks import CheckpointError, Recognizer
from agents.gru_policy import GruActorCriticPolicy
from train.published_files import Weights
from train.weight_report import WeightReport, compare_weights

# Published name -> ours, by prefix.
_NAMES = {
    "state_encoder.0.": "encoder.convolution.0.",
    "state_encoder.3.": "encoder.linear.1.",
    "gru.": "gru.",
    "actor.0.": "actor.",
    "critic.0.": "critic.",
}
# Ours alone: the scale of standardised observations, which the published policy does not have.
_SCALE = ("encoder.mean", "encoder.std", "scale_is_fitted")
_SIZE_GIVERS = ("state_encoder.0.weight", "state_encoder.3.weight", "actor.0.weight")


def policy_from_published(
    weights: Weights, recognizer: Recognizer, path: Path
) -> tuple[GruActorCriticPolicy, WeightReport]:
    """Build the policy of a published file, with the settings of the `paper` preset.

    Where weights are missing or of another shape, the report says so and the policy is unusable.

    Args:
        weights: under the published names.
        recognizer: whose glance maps it sees.
        path: of the file, for messages.

    Raises:
        CheckpointError: its actions are no square grid, or it sees other maps.
    """
    missing = [name for name in _SIZE_GIVERS if name not in weights]
    if missing:
        raise CheckpointError(f"the policy in {path} has no {', '.join(missing)}")
    convolution, linear, actor = (weights[name] for name in _SIZE_GIVERS)
    if (convolution.dim(), linear.dim(), actor.dim()) != (4, 2, 2) or 0 in convolution.shape:
        raise CheckpointError(f"the policy in {path} has weights of unknown shapes")
    channels, map_channels = convolution.shape[:2]
    hidden_dim, num_actions = len(linear), len(actor)
    if math.isqrt(num_actions) ** 2 != num_actions:
        raise CheckpointError(
            f"the policy in {path} has {num_actions} actions, which is no square grid"
        )
    sees = (map_channels, linear.shape[1] // channels)
    map_shape = recognizer.map_shape()
    if sees != (map_shape[0], map_shape[1] * map_shape[2]):
        raise CheckpointError(
            f"the policy in {path} sees glance maps of {sees[0]} channels and {sees[1]} positions, "
            f"but the glancer gives {map_shape[0]} and {map_shape[1]}x{map_shape[2]} positions: "
            "set glancer= and glance_size= as in its training"
        )
    policy = GruActorCriticPolicy(
        spaces.Box(0.0, float(recognizer.glancer.map_bound), map_shape, np.float32),
        spaces.Discrete(num_actions),
        lambda _: 0.0,
        channels=channels,
        hidden_dim=hidden_dim,
        clamp_probs=True,
    )
    ours = policy.state_dict()
    published = {_published_name(name): name for name in ours if name not in _SCALE}
    report = compare_weights(weights, {name: ours[own] for name, own in published.items()})
    if report.complete:
        read = {own: weights[name] for name, own in published.items()}
        policy.load_state_dict({**ours, **read})
    policy.set_training_mode(False)
    return policy, report


def policy_to_published(policy: BasePolicy, folder: Path) -> Weights:
    """A policy's weights under the published names.

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
    if len(policy.observation_space.shape) != 3:
        why = 'it sees glance vectors; train it with observation="map"'
    elif bool(torch.any(encoder.mean != 0)) or bool(torch.any(encoder.std != 1)):
        why = (
            "it standardises its observations; train it with algo.preset=paper or "
            "algo.policy_kwargs.standardize=false"
        )
    if why is not None:
        raise CheckpointError(f"the published format cannot hold the policy in {folder}: {why}")
    return {
        _published_name(name): value.contiguous()
        for name, value in policy.state_dict().items()
        if name not in _SCALE
    }


def _published_name(name: str) -> str:
    for published, ours in _NAMES.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    raise AssertionError(f"{name} has no published name")
