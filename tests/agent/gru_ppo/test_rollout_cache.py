"""The pass of the policy that draws a rollout's actions is also that of its first epoch."""

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents.gru_ppo.rollout_cache import RolloutCache, trains_as_it_acts
from agents.policies.gru_policy import GruActorCriticPolicy

N, T = 3, 4


class WeightsWritten(BaseCallback):
    """Writes the policy's weights, times `factor`, between a rollout and its update."""

    def __init__(self, factor):
        super().__init__()
        self._factor = factor

    def _on_step(self):
        return True

    @torch.no_grad()
    def _on_rollout_end(self):
        self.model.policy.actor.weight.mul_(self._factor)


class OfAUser(GruActorCriticPolicy):
    """A subclass: it may have dropout."""


def _passes(model, callback=None):
    """Passes of the policy over whole rollouts in two rollouts and their updates."""
    calls = 0
    evaluate = model.policy.evaluate_episodes

    def counted(observations, **how):
        nonlocal calls
        calls += 1
        return evaluate(observations, **how)

    model.policy.evaluate_episodes = counted
    model.learn(2 * model.n_steps * model.n_envs, callback=callback)
    del model.policy.evaluate_episodes
    return calls


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, 2),
        ({"n_epochs": 3}, 2 * (1 + 2)),
        ({"batch_episodes": N}, 2),
        ({"batch_episodes": 2}, 2 * (1 + 2)),
        ({"episodes_per_row": 2}, 2 * (2 + 1)),
        ({"policy": OfAUser}, 2 * (1 + 1)),
    ],
)
def test_a_first_batch_of_what_one_pass_acted_in_needs_no_other_pass(
    make_adapter, make_model, settings, passes
):
    assert _passes(make_model(make_adapter(N), **settings)) == passes


def test_a_rollout_of_steps_keeps_none(make_adapter, make_model, pass_through):
    model = make_model(pass_through(make_adapter(N)))
    assert _passes(model) == 2  # of the updates
    assert model.rollout_buffer.rollout_cache is None


@pytest.mark.parametrize("settings", [{}, {"n_epochs": 2, "max_grad_norm": 0.5}])
def test_it_changes_no_bit_of_the_weights(make_adapter, make_model, settings):
    kept, anew = (make_model(make_adapter(N), learning_rate=0.01, **settings) for _ in range(2))
    passes = _passes(kept)
    assert _passes(anew, WeightsWritten(1.0)) == passes + 2
    for name, value in kept.policy.state_dict().items():
        assert torch.equal(value, anew.policy.state_dict()[name]), name


def test_weights_changed_after_the_rollout_are_what_is_trained(make_adapter, make_model, record):
    model = make_model(make_adapter(N))
    record(model)
    model.learn(N * T, callback=WeightsWritten(3.0))
    assert model.logger.name_to_value["train/approx_kl"] > 1e-6  # as kept it would be 0


def test_a_pass_is_taken_once_and_not_where_batch_statistics_count(make_policy):
    policy = make_policy()
    observations = torch.rand(2, T, 3, 2, 2)
    kept = RolloutCache(policy, observations)
    assert not policy.training
    assert kept.values.requires_grad
    assert not kept.take(observations[:1])  # part of them
    assert kept.take(observations)
    assert not kept.take(observations)

    policy = make_policy()
    assert trains_as_it_acts(policy)
    policy.encoder.linear.append(torch.nn.BatchNorm1d(8))
    assert not trains_as_it_acts(policy)
