"""Batch normalisation in the policy's encoder: whose statistics count, and when they are kept."""

import copy

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from agents.gru_ppo.process_group import ProcessGroup
from agents.gru_ppo.rollout_cache import check_one_batch, rollout_statistics

N, T = 3, 4
NORMS = ("encoder.convolution.1.", "encoder.linear.2.")


def _observations(seed=0):
    """`(N, T, 3, 2, 2)` within 0..6."""
    return 6.0 * torch.rand(N, T, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


def _statistics(policy):
    """Copies of all running statistics and counters."""
    buffers = dict(policy.named_buffers())
    return {name: buffers[name].clone() for name in buffers if name.startswith(NORMS)}


def test_it_stands_before_either_activation_and_for_vectors_after_the_linear_layer(make_policy):
    encoder = make_policy(batch_norm=True).encoder
    assert [type(part).__name__ for part in encoder.convolution.children()] == [
        *("Conv2d", "BatchNorm2d", "ReLU")
    ]
    assert [type(part).__name__ for part in encoder.linear] == [
        *("Flatten", "Linear", "BatchNorm1d", "ReLU")
    ]
    encoder = make_policy(shape=(3,), batch_norm=True).encoder
    assert [type(part).__name__ for part in encoder.linear][2] == "BatchNorm1d"
    variances = [name for name, _ in encoder.named_buffers() if "running_var" in name]
    assert variances == ["linear.2.running_var"]


def test_acting_takes_the_statistics_of_training_and_keeps_none(make_policy):
    policy = make_policy(batch_norm=True)
    twin = copy.deepcopy(policy)
    twin.set_training_mode(True)
    expected = twin.evaluate_episodes(_observations())[1]
    policy.set_training_mode(False)
    before = _statistics(policy)
    with rollout_statistics(policy):
        acted = policy.evaluate_episodes(_observations())[1]
    assert torch.equal(acted, expected)
    for name, value in _statistics(policy).items():
        assert torch.equal(value, before[name]), name
    assert not any(module.training for module in policy.modules())
    policy.set_training_mode(True)
    policy.evaluate_episodes(_observations())
    assert _statistics(policy)["encoder.linear.2.num_batches_tracked"] == 1


@pytest.mark.parametrize("locations", ["grid", "continuous"])
def test_before_anything_is_learned_every_ratio_is_1(make_adapter, make_model, record, locations):
    env = make_adapter(N, locations=locations)
    model = make_model(env, learning_rate=0.0, n_epochs=2, policy_kwargs={"batch_norm": True})
    record(model)
    model.learn(N * T)
    logged = model.logger.name_to_value
    assert logged["train/approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert logged["train/clip_fraction"] == 0.0


class _Predicts(BaseCallback):
    """Asks the policy for an action at every step, which switches it to evaluation."""

    def _on_step(self):
        self.model.predict(np.zeros((2, 48, 7, 7), np.float32))
        return True


def test_a_callback_that_evaluates_within_a_rollout_changes_nothing(make_adapter, make_model):
    states = []
    for callback in (None, _Predicts()):
        model = make_model(make_adapter(N), policy_kwargs={"batch_norm": True})
        with torch.random.fork_rng(devices=[]):
            model.learn(2 * N * T, callback=callback)
        states.append(model.policy.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# --- settings under which acting and learning would differ ---

FITS = {
    "num_rows": 8,
    "num_decisions": 4,
    "episodes_per_row": 1,
    "batch_episodes": None,
    "num_processes": 1,
    "plays": True,
}


def test_settings_with_one_batch_are_taken_and_with_several_are_refused_with_the_cure():
    for changes in (
        {},
        {"batch_episodes": 8},
        {"batch_episodes": 100},
        {"num_decisions": 1, "plays": False},  # a step is the whole episode
        {"num_rows": 1},
        {"num_rows": 2, "num_decisions": 1},
    ):
        check_one_batch(**{**FITS, **changes})
    for changes, cure in (
        ({"batch_episodes": 7}, "batch_episodes=8"),
        ({"episodes_per_row": 2}, "episodes_per_row=1"),
        ({"num_processes": 2}, "without torchrun"),
        ({"plays": False}, "leave out the wrapper"),
        ({"num_rows": 1, "num_decisions": 1}, "more rows"),
    ):
        with pytest.raises(ValueError, match=f"batch_norm=True .*{cure}.*; or batch_norm=False"):
            check_one_batch(**{**FITS, **changes})


def test_the_algorithm_refuses_them_before_it_learns(make_adapter, make_model, pass_through):
    env = VecMonitor(make_adapter(N))
    for settings, cure in (
        ({"batch_episodes": 2}, "batch_episodes=3"),
        ({"episodes_per_row": 2}, "episodes_per_row=1"),
        ({"process_group": ProcessGroup(0, 2)}, "without torchrun"),
        ({"env": pass_through(env)}, "leave out the wrapper"),
    ):
        with pytest.raises(ValueError, match=cure):
            make_model(**{"env": env, **settings}, policy_kwargs={"batch_norm": True})
        make_model(**{"env": env, **settings})
    model = make_model(env, policy_kwargs={"batch_norm": True})
    with pytest.raises(ValueError, match="leave out the wrapper"):
        model.set_env(pass_through(make_adapter(N)))


def test_episodes_of_one_step_may_be_stepped(cue_env, make_model, spy):
    rows = [lambda: cue_env(num_steps=1)] * 4
    watcher = spy()
    model = make_model(DummyVecEnv(rows), learning_rate=0.0, policy_kwargs={"batch_norm": True})
    model.learn(4, callback=watcher)
    model.policy.set_training_mode(True)
    (rollout,) = watcher.rollouts
    distribution, values = model.policy.evaluate_episodes(rollout.observations)
    torch.testing.assert_close(values, rollout.old_values)
    torch.testing.assert_close(distribution.log_prob(rollout.actions), rollout.old_log_probs)
