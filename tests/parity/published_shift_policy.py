"""The published Something-Something policies and their updates, by our public objects.

Every function returns arrays under the names of `golden_sthsth.npz`; only the golden test knows
which numbers they should be. The axis of steps, of which there is one, is left out.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

import fill_rule
from adafocus_env.envs import ContinuousLocations, PatchGrid
from agents.gru_ppo.algorithm import GruPPO
from agents.gru_ppo.rollout_cache import rollout_statistics
from agents.policies.distributions import ActionDistribution, PolicyStep
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.registry import algorithm_arguments
from published_run import uniforms_for
from train.checkpoints.published.policy import published_policy_names

Arrays = dict[str, Any]

# Number of actions (None is continuous), batch normalisation.
KINDS: dict[str, tuple[int | None, bool]] = {
    "cont": (None, True),
    "nobn": (None, False),
    "d25": (25, True),
    "d49": (49, True),
}
ACTION_STD = 0.25
NORMS = {"1": "encoder.convolution.1", "5": "encoder.linear.2"}


def policy_states(glance_map: Tensor) -> Tensor:
    """`(B, 1, 10240, 7, 7)` observations of glance maps `(B, 8, 1280, 7, 7)`."""
    return glance_map.flatten(1, 2)[:, None]


def make_policy(kind: str) -> GruActorCriticPolicy:
    """A policy of the preset `paper` with the weights of the rule."""
    num_actions, batch_norm = KINDS[kind]
    arguments = _arguments(batch_norm)
    policy = GruActorCriticPolicy(
        spaces.Box(0.0, 6.0, (10240, 7, 7), np.float32),
        _anywhere() if num_actions is None else spaces.Discrete(num_actions),
        lambda _: arguments["learning_rate"],
        **arguments["policy_kwargs"],
    )
    state = policy.state_dict()
    for published, ours in published_policy_names(policy).items():
        state[ours] = fill_rule.filled(f"policy.{published}", state[ours].shape)
    policy.load_state_dict(state)
    policy.set_training_mode(False)
    return policy


# --- d: the policy alone ---


def run_policy(policy: GruActorCriticPolicy, states: Tensor, actions: Tensor) -> Arrays:
    """`out`, `logprob`, `value` and `entropy` in the mode that the policy is in."""
    with torch.no_grad():
        distribution, values = policy.evaluate_episodes(states)
        found = {
            "out": _outputs(distribution),
            "logprob": distribution.log_prob(actions[:, None]),
            "value": values,
            "entropy": distribution.entropy(),
        }
    return {name: value[:, 0] for name, value in found.items()}


def run_policy_in_training(policy, states, actions):
    """The same in training mode, and what that makes of the running statistics.

    The policy stays as it was.

    Returns:
        arrays; vectors `"1.running_mean"` and so on.
    """
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    policy.set_training_mode(True)
    found = run_policy(policy, states, actions)
    moved = {name: value for name, value in statistics(policy).items() if value.dim()}
    policy.load_state_dict(before)
    policy.set_training_mode(False)
    return found, moved


def statistics(policy: GruActorCriticPolicy) -> dict[str, Tensor]:
    """Running statistics under the published places in the encoder; empty where there are none."""
    state = policy.state_dict()
    return {
        f"{place}.{name}": state[f"{ours}.{name}"].clone()
        for place, ours in NORMS.items()
        for name in ("running_mean", "running_var", "num_batches_tracked")
        if f"{ours}.{name}" in state
    }


# --- c, i: acting ---


@torch.no_grad()
def act(policy: GruActorCriticPolicy, states: Tensor, forced: Tensor) -> PolicyStep:
    """A rollout's step, with the uniforms that give these draws."""
    observations = states[:, 0]
    start = policy.initial_state(len(states)), torch.ones(len(states), dtype=torch.bool)
    with rollout_statistics(policy):
        distribution, _ = policy.evaluate_episodes(states)
        outputs = _outputs(distribution)[:, 0]
        if forced.is_floating_point():
            uniforms = torch.special.ndtr((forced - outputs).double() / ACTION_STD).float()
        else:
            uniforms = uniforms_for(outputs, forced)
        return policy.step(observations, *start, uniforms=uniforms)


def run_acting(policy: GruActorCriticPolicy, states: Tensor, forced: Tensor) -> Arrays:
    """`sample`, `action`, `loc`, `offsets` and `logprob` of section c."""
    step = act(policy, states, forced)
    action = policy.head.within_bounds(step.actions)
    return {
        "sample": step.actions,
        "action": action,
        "logprob": step.log_probs,
        **places(policy, action),
    }


@torch.no_grad()
def run_best(policy: GruActorCriticPolicy, states: Tensor) -> Arrays:
    """`loc`, `offsets` and `margin` of section i, through `predict`."""
    best, _ = policy.predict(states[:, 0].numpy(), deterministic=True)
    found = places(policy, torch.from_numpy(best))
    if best.dtype.kind == "f":
        pixels = 80 * found["loc"].double()
        margin = (pixels - pixels.round()).abs().min()
    else:
        likely = _outputs(policy.evaluate_episodes(states)[0])[:, 0].topk(2, dim=1).values
        margin = likely[:, 0] - likely[:, 1]
    return {**found, "margin": margin}


def places(policy: GruActorCriticPolicy, actions: Tensor) -> Arrays:
    """Where actions look in frames of 224 pixels, patches of 144."""
    if isinstance(policy.action_space, spaces.Box):
        anywhere = ContinuousLocations(224, 144)
        return {"loc": anywhere.origins(actions), "offsets": anywhere.offsets(actions)}
    grid = PatchGrid(round(float(policy.action_space.n) ** 0.5), 224, 144)
    return {"loc": grid.origins(actions), "offsets": grid.offsets(actions)}


# --- e: updates ---


def make_learner(kind: str, num_rows: int, weights: dict[str, Tensor]) -> GruPPO:
    """`GruPPO` of the preset `paper` with these weights and a new Adam."""
    num_actions, batch_norm = KINDS[kind]
    arguments = _arguments(batch_norm)
    env = DummyVecEnv([lambda: _SpacesOnly(num_actions)] * num_rows)
    learner = GruPPO(env=env, seed=0, device="cpu", **arguments)
    learner.policy.load_state_dict(weights)
    learner.set_logger(Logger(folder=None, output_formats=[]))
    return learner


def run_update(learner, states, forced, rewards, shift=None):
    """Act, then one update: what it computes, its gradients and what it changes.

    Args:
        learner: is updated.
        states: `(B, 1, ...)`.
        forced: `(B,)` or `(B, 2)` draws.
        rewards: `(B,)`.
        shift: `(B,)` added to the stored log-probabilities.
    """
    policy = learner.policy
    policy.set_training_mode(False)
    step = act(policy, states, forced)
    stored = step.log_probs if shift is None else step.log_probs + shift
    with torch.no_grad(), rollout_statistics(policy):
        distribution, _ = policy.evaluate_episodes(states)
        log_probs = distribution.log_prob(step.actions[:, None])[:, 0]
    buffer = learner.rollout_buffer
    buffer.reset()
    buffer.add(
        observations=states,
        actions=step.actions[:, None],
        log_probs=stored[:, None],
        values=step.values[:, None],
        rewards=rewards[:, None],
    )
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    learner.train()
    logged = learner.logger.name_to_value
    results: Arrays = {
        "reward": rewards,
        "returns": buffer.episodes().returns[:, 0],
        "value": step.values,
        "entropy": distribution.entropy()[:, 0],
        "ratio": (log_probs - stored).exp(),
        "logprob_old": stored,
        "logprob_new": log_probs,
        "loss": logged["train/loss"],
        "mse": logged["train/value_loss"],
    }
    after = dict(policy.named_parameters())
    norms: dict[str, list[Tensor]] = {"grad": [], "delta": [], "param": []}
    for published in parameter_names(policy):
        name = published_policy_names(policy)[published]
        gradient, value = after[name].grad, after[name].detach()
        assert gradient is not None
        whole = {"grad": gradient, "param": value, "delta": value - before[name]}
        for what, tensor in whole.items():
            norms[what].append(tensor.double().norm())
            if what != "delta":
                results[f"{what}::{published}"] = tensor.flatten()[chosen(tensor.numel())].clone()
    results |= {f"{what}_norm": torch.stack(values) for what, values in norms.items()}
    for name, value in statistics(policy).items():
        shown = value[:: len(value) // 32] if value.dim() else value
        results[f"state_encoder.{name}"] = shown
    return results


def parameter_names(policy: GruActorCriticPolicy) -> list[str]:
    """Published names of the parameters, without statistics, in their order."""
    parameters = dict(policy.named_parameters())
    return [name for name, own in published_policy_names(policy).items() if own in parameters]


def chosen(count: int) -> Tensor:
    """Indices of the recorded elements of a flattened tensor."""
    recorded = min(32, count)
    return torch.arange(recorded) * (count - 1) // max(1, recorded - 1)


class _SpacesOnly(gym.Env[np.ndarray, Any]):
    """What `GruPPO` must know of an environment when its rollouts are given."""

    def __init__(self, num_actions: int | None):
        self.observation_space = spaces.Box(0.0, 6.0, (10240, 7, 7), np.float32)
        self.action_space = _anywhere() if num_actions is None else spaces.Discrete(num_actions)
        self.num_decisions = 1


def _arguments(batch_norm: bool) -> dict[str, Any]:
    sizes = {"channels": 64, "batch_norm": batch_norm, "action_std": ACTION_STD}
    return algorithm_arguments("gru_ppo", "paper", {"policy_kwargs": sizes})


def _anywhere() -> spaces.Box:
    return spaces.Box(0.0, 1.0, (2,), np.float32)


def _outputs(distribution: ActionDistribution) -> Tensor:
    """Means, or probabilities."""
    outputs: Tensor = getattr(distribution, "probs", None)
    return distribution.best() if outputs is None else outputs
