"""The published computations, done by our public objects, on any weights, inputs and sizes.

Every function takes networks and a `Case` and returns arrays under the names of
`golden_actnet.npz`; only the golden test knows which numbers they should be.
"""

import torch

import fill_rule
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer, freeze
from agents.evaluation import evaluate_agent
from given_case import make_core
from published_policy import learn_once, uniforms_for


def make_recognizer(config, *, seed=""):
    """A frozen recognizer with the weights of the rule."""
    recognizer = Recognizer(config)
    state = recognizer.state_dict()
    recognizer.load_state_dict(
        {key: fill_rule.filled(key, value.shape, seed=seed) for key, value in state.items()}
    )
    freeze(recognizer)
    return recognizer


# --- a, b: glances, patches, rewards ---


@torch.no_grad()
def run_glances(case, recognizer):
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
def run_looks(case, recognizer):
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
    logits = {"real": [], "random": [], "padding": []}
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


def run_rewards(case, recognizer):
    """Confidences and rewards of whole episodes, `(T, B)`, by the core and `REWARDS`."""
    results = {}
    for reward in ("random", "padding", "prev", "conf"):
        outcome = make_core(case, recognizer, reward).play(case.actions.T)
        results[f"b_reward_{reward}"] = outcome.rewards.T
        if reward in ("random", "padding"):
            results[f"b_base_conf_{reward}"] = outcome.baseline_confidences.T
        results["b_conf"] = outcome.confidences.T
    return results


# --- d, e: the policy and its updates ---


@torch.no_grad()
def run_policy(case, policy, glance_map):
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
        "hidden_final": acted["policy_state"],
    }


@torch.no_grad()
def act(case, policy, glance_map, uniforms):
    """The policy acts step by step: `(T, B)` actions and log-probs; the last state."""
    state = policy.initial_state(len(glance_map))
    starts = torch.ones(len(glance_map), dtype=torch.bool)
    steps = []
    for t in range(glance_map.shape[1]):
        step = policy.step(glance_map[:, t], state, starts, uniforms=uniforms[:, t])
        state, starts = step.policy_state, torch.zeros_like(starts)
        steps.append(step)
    actions, log_probs = (
        torch.stack([getattr(step, name) for step in steps]) for name in ("actions", "log_probs")
    )
    return {"actions": actions, "log_probs": log_probs, "policy_state": state}


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
    results, moved = learn_once(
        learner,
        observations=glance_map,
        actions=actions,
        log_probs=old_log_probs.T,
        values=values,
        rewards=rewards.T,
    )
    results |= {
        "rtg_norm": results["returns"].T,
        "values": values.T,
        "logprobs_new": log_probs.T,
        "entropy": distribution.entropy().T,
        "ratio": (log_probs.T - old_log_probs).exp(),
    }
    return results, moved


def evaluate_policy(case, recognizer, policy):
    """`h_*`: `adafocus evaluate`'s loop over the case's videos."""
    env = PatchLocalizationVectorEnv.__new__(PatchLocalizationVectorEnv)
    env._attach(make_core(case, recognizer, "conf"), "disabled", None)
    return evaluate_agent(env, policy)
