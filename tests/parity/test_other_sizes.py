"""The parity computations on other weights, inputs and sizes: every part agrees with the others."""

import zlib

import pytest
import torch

import fill_rule
import published_run as run
import stage_runs
from adafocus_env.networks import Recognizer
from given_case import Case, make_core, normalised_config

# Videos, frames, side, patch, grid; glances at half the side.
B, T, SIDE, PATCH, GRID = 3, 5, 56, 24, 5
FREE = SIDE - PATCH


@pytest.fixture(scope="module")
def case():
    return Case(
        frames=fill_rule.waves(B, T, SIDE),
        labels=torch.tensor([2, 0, 5]),
        grid_size=GRID,
        actions=torch.arange(T * B).view(T, B) * 7 % GRID**2,
        baseline_offsets=fill_rule.baseline_offsets(B, T, FREE),
        stage1_offsets=fill_rule.stage1_offsets(B, T, FREE),
        log_prob_shift=torch.from_numpy(fill_rule.log_prob_shift(B, T)),
    )


@pytest.fixture(scope="module")
def networks():
    config = normalised_config(
        class_names=tuple("abcdef"), num_frames=T, frame_size=SIDE, patch_size=PATCH,
        glance_size=28, glancer="mobilenet_v2_small", focuser="resnet_small", hidden_dim=20,
        dropout=0.0,
    )  # fmt: skip
    recognizer = Recognizer(config)
    policy = run.new_policy((48, 7, 7), GRID**2, channels=6, hidden_dim=24)
    shapes = run.canonical_shapes(recognizer, policy)
    weights = fill_rule.filled_weights(shapes, seed="another model: ")
    run.load_policy_weights(policy, weights)
    return run.load_recognizer(config, weights), policy


@pytest.fixture(scope="module")
def glance_map(case, networks):
    return run.run_glances(case, networks[0])["map"]


def _cut(case, offsets):
    """`(B * T, 3, P, P)` by slicing; offsets `(B, T, 2)`."""
    return torch.stack(
        [
            case.frames[b, t, :, top : top + PATCH, left : left + PATCH]
            for b in range(B)
            for t in range(T)
            for top, left in [offsets[b, t].tolist()]
        ]
    )


def test_the_hash_is_that_of_32_bit_integers():
    values = fill_rule.hashed("some.key", 1000)
    for i in (1, 2, 999, 1000):
        u = (i * 2654435761 + zlib.crc32(b"some.key")) % 2**32
        u ^= u >> 16
        u = u * 2246822519 % 2**32
        u ^= u >> 13
        u = u * 3266489917 % 2**32
        u ^= u >> 16
        assert values[i - 1] == u / 2147483648 - 1


def test_another_seed_fills_other_weights_of_the_same_kind():
    one, other = (
        fill_rule.filled("classifier.fc.weight", (200, 1024), seed=seed) for seed in ("", "x")
    )
    assert not torch.equal(one, other)
    assert one.std() == pytest.approx(float(other.std()), rel=0.01)


@pytest.mark.parametrize("reward", ["random", "padding", "prev", "conf"])
def test_whole_episodes_are_what_single_steps_are(case, networks, reward):
    whole = run.run_rewards(case, networks[0])
    core = make_core(case, networks[0], reward)
    steps = [core.transition(case.actions[t]) for t in range(T)]
    rewards = torch.stack([step.rewards for step in steps])
    torch.testing.assert_close(whole[f"b_reward_{reward}"], rewards, rtol=0.0, atol=1e-5)
    assert rewards.std() > 1e-3


def test_rewards_are_differences_of_softmaxes_of_the_compared_logits(case, networks):
    rewards, looks = run.run_rewards(case, networks[0]), run.run_looks(case, networks[0])

    def confidence(name):
        return looks[name].softmax(dim=2)[:, torch.arange(B), case.labels]

    conf = confidence("b_logits")
    before = torch.cat([torch.zeros(1, B), conf[:-1]])
    expected = {
        "random": conf - confidence("b_base_logits_random"),
        "padding": conf - confidence("b_base_logits_padding"),
        "prev": conf - before,
        "conf": conf,
    }
    for name, value in expected.items():
        torch.testing.assert_close(rewards[f"b_reward_{name}"], value, rtol=0.0, atol=1e-5)


def test_stage_1_classifies_the_patches_at_its_offsets(case, networks):
    recognizer = networks[0]
    got = stage_runs.stage1_logits(case, recognizer)
    with torch.no_grad():
        patches = recognizer.focuser.focus(_cut(case, case.stage1_offsets)).view(B, T, -1)
        pooled = run.run_glances(case, recognizer)["pooled"]
        expected = recognizer.classify_sequence(pooled, patches)[0]
    torch.testing.assert_close(got, expected, rtol=0.0, atol=1e-4)


def test_a_training_step_of_stage_1_leaves_the_glancer_and_the_unused_head(case, networks):
    recognizer = run.load_recognizer(networks[0].config, networks[0].state_dict())
    step = stage_runs.stage1_step(case, recognizer, backbone_lr=0.01, fc_lr=0.005)
    assert {name for name, grad in step["grads"].items() if grad is None} == {
        "focuser.net.fc.weight", "focuser.net.fc.bias"
    }  # fmt: skip
    after, before = recognizer.state_dict(), networks[0].state_dict()
    same = {name for name in after if torch.equal(after[name], before[name])}
    assert {n for n in after if n.startswith("glancer.")} <= same
    # Momentum starts at the gradient, so the first step is lr * (grad + weight decay * weight).
    name = "classifier.fc.bias"
    expected = before[name] - 0.005 * (step["grads"][name] + 1e-4 * before[name])
    torch.testing.assert_close(after[name], expected)


def test_acting_step_by_step_is_what_is_evaluated(case, networks, glance_map):
    results = run.run_policy(case, networks[1], glance_map)
    torch.testing.assert_close(results["d_act_logprobs"], results["d_logprobs"], rtol=0, atol=1e-5)
    torch.testing.assert_close(results["act_values"], results["d_values"], rtol=0, atol=1e-5)
    chosen = results["d_action_probs"].gather(2, case.actions[..., None])[..., 0]
    torch.testing.assert_close(results["d_logprobs"].exp(), chosen, rtol=1e-4, atol=1e-7)


def test_updates_lower_their_loss_and_add_up(case, networks, glance_map):
    learner = run.make_learner(networks[1], T)
    rewards = run.run_rewards(case, networks[0])["b_reward_random"]
    log_probs = run.run_policy(case, networks[1], glance_map)["d_act_logprobs"]
    first = run.run_update(case, learner, glance_map, rewards, log_probs)
    second = run.run_update(case, learner, glance_map, rewards, log_probs)
    torch.testing.assert_close(first["ratio"], torch.ones(T, B), rtol=0.0, atol=1e-5)
    assert (second["ratio"] - 1).abs().max() > 1e-4
    for update in (first, second):
        parts = update["policy_loss"] + 0.5 * update["mse"] - 0.01 * update["entropy"].mean()
        assert update["loss"] == pytest.approx(float(parts), abs=1e-5)
    assert second["mse"] < first["mse"]
    # Adam's first step: lr, against the sign of the gradient.
    grad, delta = first["grad::gru.weight_hh_l0"], first["delta::gru.weight_hh_l0"]
    clear = grad.abs() > 1e-5
    torch.testing.assert_close(delta[clear], -3e-4 * grad[clear].sign(), rtol=0.0, atol=1e-6)


def test_evaluation_and_stage_3_see_the_same_logits(case, networks):
    recognizer, policy = networks
    judged = run.evaluate_policy(case, recognizer, policy)
    training = stage_runs.stage3_logits(case, recognizer, policy)
    torch.testing.assert_close(torch.from_numpy(judged.logits), training, rtol=0.0, atol=1e-4)
