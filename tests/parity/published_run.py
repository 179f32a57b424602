"""The published computations, done by our public objects, on any weights, inputs and sizes.

Every function takes networks and a `Case` and returns arrays under the names of
`golden_actnet.npz`; only the golden test knows which numbers they should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from torch import Tensor

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer, RecognizerConfig, freeze
from agents.evaluation import Evaluation, evaluate_agent
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.registry import algorithm_arguments
from fill_rule import POLICY_PREFIX
from given_case import Case, make_core

Arrays = dict[str, Any]

# Keys of the published policy section, in its order -> ours.
POLICY_KEYS = {
    "state_encoder.0.weight": "encoder.convolution.0.weight",
    "state_encoder.3.weight": "encoder.linear.1.weight",
    "state_encoder.3.bias": "encoder.linear.1.bias",
    "gru.weight_ih_l0": "gru.weight_ih_l0",
    "gru.weight_hh_l0": "gru.weight_hh_l0",
    "gru.bias_ih_l0": "gru.bias_ih_l0",
    "gru.bias_hh_l0": "gru.bias_hh_l0",
    "actor.0.weight": "actor.weight",
    "actor.0.bias": "actor.bias",
    "critic.0.weight": "critic.weight",
    "critic.0.bias": "critic.bias",
}


def canonical_shapes(recognizer, policy):
    """Shapes of all weights by the keys of the published model."""
    shapes = {key: tuple(value.shape) for key, value in recognizer.state_dict().items()}
    ours = policy.state_dict()
    policy_shapes = {POLICY_PREFIX + k: tuple(ours[name].shape) for k, name in POLICY_KEYS.items()}
    return {**shapes, **policy_shapes}


def load_recognizer(config: RecognizerConfig, weights: Mapping[str, Tensor]) -> Recognizer:
    """A frozen recognizer with published weights."""
    recognizer = Recognizer(config)
    recognizer.load_state_dict(
        {key: value for key, value in weights.items() if not key.startswith(POLICY_PREFIX)}
    )
    freeze(recognizer)
    return recognizer


def new_policy(map_shape, num_actions, **sizes):
    """A policy as the preset `paper` makes it."""
    arguments = algorithm_arguments("gru_ppo", "paper", {"policy_kwargs": sizes})
    return GruActorCriticPolicy(
        spaces.Box(0.0, 6.0, map_shape, np.float32),
        spaces.Discrete(num_actions),
        lambda _: arguments["learning_rate"],
        **arguments["policy_kwargs"],
    )


def load_policy_weights(policy: GruActorCriticPolicy, weights: Mapping[str, Tensor]):
    """Published weights into a policy; its scaling buffers keep their neutral values."""
    renamed = {name: weights[POLICY_PREFIX + key] for key, name in POLICY_KEYS.items()}
    missing, unexpected = policy.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert set(missing) == {"scale_is_fitted", "encoder.mean", "encoder.std"}


# --- a, b: glances, patches, rewards ---


@torch.no_grad()
def run_glances(case: Case, recognizer: Recognizer) -> Arrays:
    """`a_*`, but whole: `map (B, T, C, h, w)`, `pooled`, logits of the stage-0 heads."""
    shape, frames = case.frames.shape[:2], case.frames.flatten(0, 1)
    glance_map, pooled = recognizer.glance(frames)
    return {
        "map": glance_map.unflatten(0, shape),
        "pooled": pooled.unflatten(0, shape),
        "a_predict_logits": recognizer.glancer(frames).unflatten(0, shape),
        "c_focuser_predict_logits": recognizer.focuser(frames).unflatten(0, shape),
    }


@torch.no_grad()
def run_looks(case: Case, recognizer: Recognizer) -> Arrays:
    """Patch vectors and logits of the forced looks and of what each is compared with, `(T, B)`."""
    core = make_core(case, recognizer, "random")
    num_videos, num_frames = case.frames.shape[:2]
    rows = torch.arange(num_videos).repeat(num_frames)
    steps = torch.arange(num_frames).repeat_interleave(num_videos)
    offsets = core.locations.offsets(case.actions)
    features = core.features
    real = features.focus(rows, steps, offsets.flatten(0, 1)).unflatten(0, case.actions.shape)
    other = features.focus(rows, steps, case.baseline_offsets.flatten(0, 1))
    other = other.unflatten(0, case.actions.shape)
    state = torch.zeros(num_videos, recognizer.config.hidden_dim)
    logits: dict[str, list[Tensor]] = {"real": [], "random": [], "padding": []}
    for t in range(num_frames):
        now = (torch.arange(num_videos), torch.full((num_videos,), t))
        for name, vectors in (("random", other[t]), ("padding", torch.zeros_like(real[t]))):
            logits[name].append(features.classify(*now, vectors, state)[0])
        after, state = features.classify(*now, real[t], state)
        logits["real"].append(after)
    return {
        "b_offsets": offsets,
        "real_vectors": real,
        "random_vectors": other,
        "b_logits": torch.stack(logits["real"]),
        "b_base_logits_random": torch.stack(logits["random"]),
        "b_base_logits_padding": torch.stack(logits["padding"]),
        "hx_final": state,
    }


def run_rewards(case: Case, recognizer: Recognizer) -> Arrays:
    """Confidences and rewards of whole episodes, `(T, B)`, by the core and `REWARDS`."""
    results: Arrays = {}
    for reward in ("random", "padding", "prev", "conf"):
        outcome = make_core(case, recognizer, reward).play(case.actions.T)
        results[f"b_reward_{reward}"] = outcome.rewards.T
        if reward in ("random", "padding"):
            results[f"b_base_conf_{reward}"] = outcome.baseline_confidences.T
        results["b_conf"] = outcome.confidences.T
    return results


# --- d, e: the policy and its updates ---


@torch.no_grad()
def run_policy(case: Case, policy: GruActorCriticPolicy, glance_map: Tensor) -> Arrays:
    """`d_*`, `(T, B)`: whole episodes at once, and the acting policy step by step."""
    distribution, values = policy.evaluate_episodes(glance_map)
    actions = case.actions.T
    best = distribution.probs.topk(2, dim=-1)
    acted = act(case, policy, glance_map, uniforms_for(distribution.probs, actions))
    assert torch.equal(acted["actions"], case.actions)
    return {
        "d_action_probs": distribution.probs.transpose(0, 1),
        "d_logprobs": distribution.log_prob(actions).T,
        "d_values": values.T,
        "d_entropy": distribution.entropy().T,
        "d_argmax": best.indices[..., 0].T,
        "d_argmax_margin": (best.values[..., 0] - best.values[..., 1]).T,
        "d_act_logprobs": acted["log_probs"],
        "act_values": acted["values"],
        "hidden_final": acted["policy_state"],
    }


def uniforms_for(probs: Tensor, actions: Tensor) -> Tensor:
    """Uniforms for which the inverse CDF of `probs (..., A)` gives `actions (...)`."""
    upper = probs.cumsum(dim=-1).gather(-1, actions[..., None])[..., 0]
    return upper - probs.gather(-1, actions[..., None])[..., 0] / 2


@torch.no_grad()
def act(case, policy, glance_map, uniforms):
    """The policy acts step by step: `(T, B)` actions, values, log-probs; the last state."""
    state = policy.initial_state(len(glance_map))
    starts = torch.ones(len(glance_map), dtype=torch.bool)
    steps = []
    for t in range(glance_map.shape[1]):
        step = policy.step(glance_map[:, t], state, starts, uniforms=uniforms[:, t])
        state, starts = step.policy_state, torch.zeros_like(starts)
        steps.append(step)
    names = ("actions", "values", "log_probs")
    stacked = {name: torch.stack([getattr(step, name) for step in steps]) for name in names}
    return {**stacked, "policy_state": state}


class _SpacesOnly(gym.Env[np.ndarray, int]):
    """What `GruPPO` must know of an environment when its rollouts are given."""

    def __init__(self, policy: GruActorCriticPolicy, num_decisions: int):
        self.observation_space = policy.observation_space
        self.action_space = policy.action_space
        self.num_decisions = num_decisions


def make_learner(policy: GruActorCriticPolicy, num_decisions: int) -> GruPPO:
    """`GruPPO` of the preset `paper` with a copy of the policy's weights."""
    sizes = {name: policy.arguments()[name] for name in ("channels", "hidden_dim")}
    arguments = algorithm_arguments("gru_ppo", "paper", {"policy_kwargs": sizes})
    env = _SpacesOnly(policy, num_decisions)
    learner = GruPPO(env=env, seed=0, device="cpu", **arguments)
    learner.policy.load_state_dict(policy.state_dict())
    learner.set_logger(Logger(folder=None, output_formats=[]))
    return learner


def run_update(case, learner, glance_map, rewards, old_log_probs):
    """One update from the forced looks: what it computes, its gradients and what it changes.

    The published advantage uses the values of the policy that is being updated. With one epoch a
    rollout these are the stored ones; for a further update on the same rollout they are stored
    anew here.

    Args:
        case: whose actions.
        learner: is updated.
        glance_map: `(B, T, C, h, w)`.
        rewards: `(T, B)`.
        old_log_probs: `(T, B)`.
    """
    policy, actions = learner.policy, case.actions.T
    with torch.no_grad():
        distribution, values = policy.evaluate_episodes(glance_map)
        log_probs = distribution.log_prob(actions)
    buffer = learner.rollout_buffer
    buffer.reset()
    buffer.add(
        observations=glance_map,
        actions=actions,
        log_probs=old_log_probs.T,
        values=values,
        rewards=rewards.T,
    )
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    learner.train()
    logged = learner.logger.name_to_value
    after = dict(policy.named_parameters())
    results: Arrays = {
        "rtg_norm": buffer.episodes().returns.T,
        "values": values.T,
        "logprobs_new": log_probs.T,
        "entropy": distribution.entropy().T,
        "ratio": (log_probs.T - old_log_probs).exp(),
        "loss": logged["train/loss"],
        "mse": logged["train/value_loss"],
        "policy_loss": logged["train/policy_gradient_loss"],
    }
    for key, name in POLICY_KEYS.items():
        grad = after[name].grad
        assert grad is not None
        results[f"grad::{key}"], results[f"param::{key}"] = grad.clone(), after[name].detach()
        results[f"delta::{key}"] = after[name].detach() - before[name]
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in results.items()}


# --- c, g: stage 1; h: stage 3 ---


def evaluate_policy(case: Case, recognizer: Recognizer, policy: GruActorCriticPolicy) -> Evaluation:
    """`h_*`: `adafocus evaluate`'s loop over the case's videos."""
    env = PatchLocalizationVectorEnv.__new__(PatchLocalizationVectorEnv)
    env._attach(make_core(case, recognizer, "conf"), "disabled", None)
    return evaluate_agent(env, policy)
