"""Every number recorded from the published ActivityNet code, against our public objects.

`golden_actnet.npz` was recorded by running the published code on a CPU (torch 2.15, float32) on
200 classes, 2 videos, 4 frames of 224 pixels, patches of 128, 49 actions, GRUs of 1024 units, in
evaluation mode but for `g_*`. Weights and inputs come from `fill_rule`; the computations are in
`published_run` and `stage_runs`. Prefixes: a glances, b looks and rewards, c stage-1 forward, d
policy, e three PPO updates, f mean average precision, g a stage-1 training step, h stage-3
evaluation. Leading axes are (T, B) where the published code is time-first.
"""

import copy
import re

import numpy as np
import pytest
import torch

import fill_rule
import published_run as run
import stage_runs
from adafocus_env.envs import PatchGrid
from agents.gru_ppo.episode_buffer import discounted_returns
from agents.policies.gru_policy import GruActorCriticPolicy
from comparison import assert_section_is_the_published_one, spread
from published_policy import make_learner, parameter_names
from train.evaluation.metrics import mean_average_precision

pytestmark = pytest.mark.slow

# How many arrays there are of each prefix, of the inputs' x and of all: 208.
SECTIONS = {"x": 2, "a": 5, "b": 42, "c": 4, "d": 8, "e": 115, "f": 20, "g": 9, "h": 3}


# --- what is computed, under the recording's names ---


@pytest.fixture(scope="session")
def glances(case, networks):
    return run.run_glances(case, networks[0])


@pytest.fixture(scope="session")
def looks(case, networks, glances):
    """Sections a, b, c, d and h."""
    recognizer, policy = networks
    seen, acted = run.run_looks(case, recognizer), run.run_policy(case, policy, glances["map"])
    judged = run.evaluate_policy(case, recognizer, policy)
    stage1 = stage_runs.stage1_logits(case, recognizer)
    whole = glances["map"].double()
    results = {
        "x_slice": case.frames[:, :, :, ::56, ::56],
        "x_sum": case.frames.double().sum(dim=(3, 4)),
        "a_featmap_mean_std": torch.stack([whole.mean(), whole.std()]),
        "a_featmap_slice": glances["map"][:, :, ::80, ::3, ::3],
        "a_pooled_slice": glances["pooled"][:, :, ::10],
        "a_pooled_norm": glances["pooled"].norm(dim=2),
        "b_actions": case.actions,
        "b_random_offsets": case.baseline_offsets,
        "b_labels": case.labels,
        "b_feat_slice": seen["real_vectors"][..., ::16],
        "b_feat_norm": seen["real_vectors"].norm(dim=2),
        "b_random_feat_slice": seen["random_vectors"][..., ::16],
        "b_hx_final": seen["hx_final"][:, ::16],
        "c_offsets": case.stage1_offsets,
        "c_logits": stage1,
        "c_last": stage1[:, -1],
        "d_hidden_final_slice": acted["hidden_final"][:, ::16],
        "h_actions": judged.actions.T,
        "h_logits": judged.logits,
        "h_last": judged.logits[:, -1],
    }
    for grid in (5, 6, 7, 8):
        for patch in (96, 128, 144, 160, 176, 192):
            offsets = PatchGrid(grid, 224, patch).all_offsets()
            results[f"b_offsets_A{grid**2}_P{patch}"] = offsets
    return {**glances, **seen, **run.run_rewards(case, recognizer), **acted, **results}


@pytest.fixture(scope="session")
def updates(case, networks, glances, looks):
    """Section e: an update, another one on the same rollout, and one whose ratios are clipped."""
    rewards, log_probs = looks["b_reward_random"], looks["d_act_logprobs"]
    shifted = (log_probs + case.log_prob_shift).float()
    learner, fresh = (make_learner(networks[1], 4) for _ in range(2))
    made = [
        run.run_update(case, learner, glances["map"], rewards, log_probs),
        run.run_update(case, learner, glances["map"], rewards, log_probs),
        run.run_update(case, fresh, glances["map"], rewards, shifted),
    ]
    results = {
        "e_rtg_raw": discounted_returns(rewards.T, 0.7).T,
        "e_param_names": np.array(list(parameter_names(networks[1]))),
        "e1_logprobs_old": log_probs,
        "e3_logprobs_old": shifted,
        "e3_logprob_shift": case.log_prob_shift,
    }
    for number, (logged, moved) in enumerate(made, start=1):
        results |= {f"e{number}_{name}": value for name, value in logged.items()}
        for kind in ("grad", "delta", "param"):
            whole = {key: values[kind].flatten() for key, values in moved.items()}
            norms = [value.double().norm() for value in whole.values()]
            results[f"e{number}_{kind}_norm"] = torch.stack(norms)
            for key, value in whole.items():
                index = results[f"e_index::{key}"] = spread(len(value), 64)
                results[f"e{number}_{kind}::{key}"] = value[index]
    return results


@pytest.fixture(scope="session")
def training_step(case, networks):
    """Section g."""
    recognizer = copy.deepcopy(networks[0])
    step = stage_runs.stage1_step(case, recognizer, backbone_lr=0.01, fc_lr=0.005)
    weights, before = recognizer.state_dict(), networks[0].state_dict()
    glancer = [name for name in weights if name.startswith("glancer.")]
    grads = step["grads"]
    return {
        "g_loss": step["loss"],
        "g_logits": step["logits"],
        "g_param_names": np.array(list(grads)),
        "g_grad_norm": np.array(
            [-1.0 if grad is None else grad.double().norm().item() for grad in grads.values()]
        ),
        "g_param_norm": torch.stack([weights[name].double().norm() for name in grads]),
        "g_bn1_running_mean": weights["focuser.net.bn1.running_mean"],
        "g_bn1_running_var": weights["focuser.net.bn1.running_var"],
        "g_l4_bn3_running_mean_slice": weights["focuser.net.layer4.2.bn3.running_mean"][::32],
        "g_glancer_bn_unchanged": all(torch.equal(weights[n], before[n]) for n in glancer),
    }


@pytest.fixture(scope="session")
def precisions():
    """Section f; the recording is in percent."""
    results = {}
    for name in fill_rule.MAP_CASES:
        scores, labels = fill_rule.map_scores(name), fill_rule.map_labels(name)
        width = max(len(row) for row in labels) if "single" in name else 3
        found = mean_average_precision(scores, labels, rule="published")
        results[f"f_{name}_scores"] = scores
        results[f"f_{name}_labels"] = [row + (-1,) * (width - len(row)) for row in labels]
        results[f"f_{name}_map"] = 100.0 * found.mean
        results[f"f_{name}_ap"] = 100.0 * found.per_class
    return results


@pytest.fixture(scope="session")
def computed(looks, updates, training_step, precisions):
    return {**looks, **updates, **training_step, **precisions}


# --- how it is compared ---

# The recording's own, relative to an array's largest value; the first match counts. float32 and
# float64 runs of the published code differ by about a thirtieth of these.
TOLERANCES = {
    r"e\d_delta_norm": 5e-3,
    r"e2_.*": 1e-3,
    r"g_grad_norm": 1e-2,
    r"g_logits": 1e-3,
    r".*(grad|param)_norm": 1e-3,
    r".*": 1e-4,
}
LEARNING_RATE = 3e-4


@pytest.mark.parametrize(("section", "count"), SECTIONS.items())
def test_every_array_of_a_section_is_the_published_one(section, count, computed, golden):
    def tolerance(name, expected):
        if re.fullmatch(r"f_.*_(map|ap)", name):
            return 1e-4  # percent
        rule = next(value for pattern, value in TOLERANCES.items() if re.fullmatch(pattern, name))
        usual = rule * np.abs(expected).max()
        if "_param::" not in name:
            return usual
        # Adam's first step moves an element by lr * sign(gradient), however small the gradient.
        uncertain = np.abs(golden[name.replace("_param::", "_grad::")]) <= 1e-6
        return np.where(uncertain, 2 * LEARNING_RATE, usual)

    arrays = {name: array for name, array in golden.items() if name[0] == section}
    assert_section_is_the_published_one(count, arrays, computed, tolerance)
    assert len(golden) == sum(SECTIONS.values()) == 208


def test_stage_3_trains_on_the_logits_that_are_evaluated(case, networks, golden):
    logits = stage_runs.stage3_logits(case, *networks)
    np.testing.assert_allclose(logits, golden["h_logits"], rtol=0.0, atol=1e-3)


def test_without_the_clamp_the_second_update_sees_other_log_probabilities(
    case, networks, glances, looks, golden
):
    arguments = {**networks[1].arguments(), "clamp_probs": False}
    spaces = (networks[1].observation_space, networks[1].action_space)
    policy = GruActorCriticPolicy(*spaces, lambda _: 3e-4, **arguments)
    policy.load_state_dict(networks[1].state_dict())
    learner = make_learner(policy, 4)
    learner.policy.head = policy.head
    rewards, log_probs = looks["b_reward_random"], looks["d_act_logprobs"]
    for _ in range(2):
        update, _ = run.run_update(case, learner, glances["map"], rewards, log_probs)
    # float32's resolution is 2^-23, and log(2^-23) = -15.942.
    assert golden["e2_logprobs_new"].min() == pytest.approx(-15.9424, abs=1e-4)
    assert update["logprobs_new"].min() == pytest.approx(-17.2, abs=0.1)
