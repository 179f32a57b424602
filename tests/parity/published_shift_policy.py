"""The published Something-Something policies and their updates, by our public objects.

Every function returns arrays under the names of `golden_sthsth.npz`; only the golden test knows
which numbers they should be. The axis of steps, of which there is one, is left out.
"""

import torch
from gymnasium import spaces

from adafocus_env.envs import ContinuousLocations, PatchGrid
from agents.gru_ppo.rollout_cache import rollout_statistics
from comparison import spread
from published_policy import learn_once, new_policy, uniforms_for

# Number of actions (None is continuous), batch normalisation.
KINDS = {"cont": (None, True), "nobn": (None, False), "d25": (25, True), "d49": (49, True)}
ACTION_STD = 0.25
NORMS = {"1": "encoder.convolution.1", "5": "encoder.linear.2"}


def make_policy(kind):
    """A policy of the preset `paper` with the weights of the rule."""
    num_actions, batch_norm = KINDS[kind]
    sizes = {"channels": 64, "batch_norm": batch_norm, "action_std": ACTION_STD}
    return new_policy((10240, 7, 7), num_actions, key_prefix="policy.", **sizes)


# --- d: the policy alone ---


def run_policy(policy, states, actions):
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


def statistics(policy):
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
def act(policy, states, forced):
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


def run_acting(policy, states, forced):
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
def run_best(policy, states):
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


def places(policy, actions):
    """Where actions look in frames of 224 pixels, patches of 144."""
    if isinstance(policy.action_space, spaces.Box):
        anywhere = ContinuousLocations(224, 144)
        return {"loc": anywhere.origins(actions), "offsets": anywhere.offsets(actions)}
    grid = PatchGrid(round(float(policy.action_space.n) ** 0.5), 224, 144)
    return {"loc": grid.origins(actions), "offsets": grid.offsets(actions)}


# --- e: updates ---


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
    results, moved = learn_once(
        learner,
        observations=states,
        actions=step.actions[:, None],
        log_probs=stored[:, None],
        values=step.values[:, None],
        rewards=rewards[:, None],
    )
    results |= {
        "reward": rewards,
        "returns": results["returns"][:, 0],
        "value": step.values,
        "entropy": distribution.entropy()[:, 0],
        "ratio": (log_probs - stored).exp(),
        "logprob_old": stored,
        "logprob_new": log_probs,
    }
    for what in ("grad", "delta", "param"):
        whole = {published: values[what] for published, values in moved.items()}
        results[f"{what}_norm"] = torch.stack([v.double().norm() for v in whole.values()])
        for published, value in whole.items():
            results[f"{what}::{published}"] = value.flatten()[spread(value.numel(), 32)]
    for name, value in statistics(policy).items():
        shown = value[:: len(value) // 32] if value.dim() else value
        results[f"state_encoder.{name}"] = shown
    return results


def _outputs(distribution):
    """Means, or probabilities."""
    outputs = getattr(distribution, "probs", None)
    return distribution.best() if outputs is None else outputs
