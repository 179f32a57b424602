"""Stage 2 of a policy that may skip, from one that knows where to look and never skips."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.policies.distributions import GridDistribution
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.spatial_head import SpatialScorer
from train.config.keys import ConfigError

log = logging.getLogger(__name__)

# Position logits are scaled by this: a policy that has learned is too sure to explore.
_CALM = 0.5


@torch.no_grad()
def start_from(
    policy: GruActorCriticPolicy, earlier: GruActorCriticPolicy, env: PatchLocalizationVectorEnv
) -> None:
    """Copy what an earlier policy has learned; what it does not know begins at nothing.

    The channel that shows the cost has weights of 0. The action that skips is at first as probable
    as all positions together, in the mean over the first frames; the values are learned anew.

    Args:
        policy: of the environment's spaces, just made; is changed.
        earlier: of the same sizes; it may lack the last channel and the last action.
        env: just reset; its first frames fit the scale and the probability of skipping.

    Raises:
        ConfigError: the two have other sizes.
    """
    if policy.is_spatial != earlier.is_spatial:
        raise ConfigError(
            f"policy= has head={'spatial' if earlier.is_spatial else 'flat'} and here it is the "
            "other one; use the same algo.policy_kwargs.head"
        )
    own, other = policy.state_dict(), earlier.state_dict()
    observations = env.core.observe().to(policy.device)
    policy.fit_scale_once(observations)
    for name, target in own.items():
        if name not in other or name.startswith(("critic.", "scale_is_fitted")):
            continue
        _copy(name, target, other[name])
    if policy.head.num_outputs == earlier.head.num_outputs + 1:
        skip_bias = _calm_and_never_skipping(policy.actor)
        first, _ = policy.evaluate_episodes(observations[:, None])
        assert isinstance(first, GridDistribution)
        probs = first.probs[:, 0]
        skip_bias += ((1.0 - probs[:, -1]) / probs[:, -1]).log().mean()
    log.info("started from a policy of %d outputs", earlier.head.num_outputs)


def _calm_and_never_skipping(actor: nn.Module) -> Tensor:
    """Scale the logits of the positions and make that of skipping 0 everywhere.

    Returns:
        a view of the bias of skipping.
    """
    assert isinstance(actor, (SpatialScorer, nn.Linear))
    if isinstance(actor, SpatialScorer):
        assert actor.skip is not None
        positions: tuple[Tensor, ...] = (actor.score.weight, actor.bias)
        positions += () if actor.places is None else (actor.places.weight,)
        skipping: tuple[Tensor, Tensor] = (actor.skip.score.weight, actor.skip.score.bias)
    else:
        positions = (actor.weight[:-1], actor.bias[:-1])
        skipping = (actor.weight[-1:], actor.bias[-1:])
    for values in positions:
        values.mul_(_CALM)
    for values in skipping:
        values.zero_()
    return skipping[1]


def _copy(name: str, target: Tensor, source: Tensor) -> None:
    """Into the first channels and actions; the new channel's weights become 0."""
    if target.shape == source.shape:
        target.copy_(source)
        return
    grown = [i for i in range(target.dim()) if target.shape[i] != source.shape[i]]
    fits = target.dim() == source.dim() and len(grown) == 1
    axis = grown[0] if fits else 0
    if not fits or target.shape[axis] != source.shape[axis] + 1:
        raise ConfigError(
            f"policy= has {name} of {tuple(source.shape)}, but here it is {tuple(target.shape)}; "
            "use the same algo.policy_kwargs, observation= and action_dim="
        )
    target.narrow(axis, 0, source.shape[axis]).copy_(source)
    if not name.startswith(("encoder.mean", "encoder.std")):  # fitted to this environment
        target.narrow(axis, source.shape[axis], 1).zero_()
