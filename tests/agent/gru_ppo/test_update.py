"""GruPPO's update: its loss, settings and schedules; tests/parity has the published gradients."""

import inspect
import math
from collections import defaultdict

import pytest
import torch
from torch.nn import functional as F

from agents.gru_ppo.algorithm import GruPPO
from agents.gru_ppo.episode_buffer import Episodes
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.presets import PRESETS

N, T = 5, 4
PAPER = PRESETS["gru_ppo"]["paper"]


def _paper(**changes):
    policy_kwargs = {**PAPER["policy_kwargs"], "channels": 4, "hidden_dim": 8}
    return {**PAPER, "policy_kwargs": policy_kwargs, **changes}


@pytest.fixture
def one_update(make_adapter, make_videos, spy, record):
    """A model of the preset `paper` after its first update, its rollout, and what is logged."""
    env = make_adapter(N, grid_size=4, videos=make_videos(N))
    model, watcher = GruPPO(env=env, seed=3, device="cpu", **_paper()), spy()
    record(model)
    model.learn(N * T, callback=watcher)
    return model, watcher.rollouts[0], model.logger.name_to_value


def test_in_the_first_epoch_every_ratio_is_one_and_values_learn_the_normalised_returns(one_update):
    _, rollout, logged = one_update
    assert logged["train/clip_fraction"] == 0.0
    assert logged["train/approx_kl"] == pytest.approx(0.0, abs=1e-6)
    expected = F.mse_loss(rollout.old_values, rollout.returns).item()
    assert logged["train/value_loss"] == pytest.approx(expected, rel=1e-4)
    surrogate = -rollout.advantages.mean().item()
    assert logged["train/policy_gradient_loss"] == pytest.approx(surrogate, abs=1e-5)
    loss = surrogate + 0.5 * expected - 0.01 * logged["train/entropy"]
    assert logged["train/loss"] == pytest.approx(loss, abs=1e-5)


def test_the_preset_paper_trains_with_the_published_constants_and_is_nearly_the_default(one_update):
    model, _, _ = one_update
    assert (model.gamma, model.gae_lambda, model.n_epochs) == (0.7, 1.0, 1)
    assert (model.vf_coef, model.clip_range(1.0)) == (0.5, 0.2)
    assert model.batch_episodes is None
    assert model.max_grad_norm is None
    assert not model.normalize_advantage
    assert model.policy.arguments()["clamp_probs"]
    (group,) = model.policy.optimizer.param_groups
    assert type(model.policy.optimizer) is torch.optim.Adam
    assert (group["lr"], group["betas"], group["eps"]) == (3e-4, (0.9, 0.999), 1e-8)
    assert group["weight_decay"] == 0
    defaults = {
        name: parameter.default
        for function in (GruActorCriticPolicy.__init__, GruPPO.__init__)
        for name, parameter in inspect.signature(function).parameters.items()
    }
    of_policy = {
        key: value
        for key, value in PAPER["policy_kwargs"].items()
        # Torch's own, checked above; and where we take the log-probability of what was drawn.
        if key not in ("optimizer_kwargs", "clip_log_probs")
    }
    expected = {**PAPER, **of_policy}
    expected.pop("policy_kwargs")
    assert {name: defaults[name] for name in expected} == expected


def _batch(advantages, old_log_probs):
    zeros = torch.zeros(1, len(advantages))
    return Episodes(
        observations=torch.zeros(1, len(advantages), 4, 1, 1),
        actions=torch.zeros(1, len(advantages), dtype=torch.int64),
        old_log_probs=old_log_probs,
        old_values=zeros,
        rewards=zeros,
        returns=zeros,
        advantages=torch.tensor([advantages]),
    )


def test_the_surrogate_is_clipped_beyond_the_range(cue_env, make_model):
    env = cue_env(num_steps=4)
    model = make_model(env, ent_coef=0.0, vf_coef=0.0)
    dark = torch.zeros(1, 4, 4, 1, 1)
    now = model.policy.evaluate_episodes(dark)[0].log_prob(torch.zeros(1, 4, dtype=torch.int64))
    # Ratios 2, 2, 1/2, 1/2 with advantages 1, -1, 1, -1 count as 1.2, -2, 0.5, -0.8.
    ratios = torch.tensor([[2.0, 2.0, 0.5, 0.5]])
    batch = _batch([1.0, -1.0, 1.0, -1.0], now.detach() - ratios.log())
    logs = defaultdict(list)
    loss = model._loss(batch, 0.2, logs)
    assert loss.item() == pytest.approx(-(1.2 - 2.0 + 0.5 - 0.8) / 4, abs=1e-5)
    assert logs["clip_fraction"] == [1.0]
    # Schulman's estimate, ratio - 1 - log(ratio): twice 1 - log 2 and twice log 2 - 1/2.
    assert logs["approx_kl"] == [pytest.approx(0.25, abs=1e-5)]


def test_normalised_advantages_have_mean_0_and_deviation_1(cue_env, make_model):
    model = make_model(cue_env(num_steps=3), ent_coef=0.0, vf_coef=0.0, normalize_advantage=True)
    dark = torch.zeros(1, 3, 4, 1, 1)
    now = model.policy.evaluate_episodes(dark)[0].log_prob(torch.zeros(1, 3, dtype=torch.int64))
    # Advantages 1, 2, 6 become -2, -1, 3 over sqrt(14 / 2); the last one's ratio of 2 counts 1.2.
    batch = _batch([1.0, 2.0, 6.0], now.detach() - torch.tensor([[1.0, 1.0, 2.0]]).log())
    loss = model._loss(batch, 0.2, defaultdict(list))
    assert loss.item() == pytest.approx(-(-2 - 1 + 1.2 * 3) / math.sqrt(7) / 3, abs=1e-5)


def test_gradients_are_clipped_to_the_norm_and_epochs_stop_when_the_policy_has_moved_too_far(
    cue_env, make_model
):
    model = make_model(cue_env(), max_grad_norm=1e-3, vf_coef=10.0)
    model.learn(3)
    norms = torch.stack([p.grad.norm() for p in model.policy.parameters() if p.grad is not None])
    assert norms.norm().item() == pytest.approx(1e-3, rel=1e-3)
    model = make_model(cue_env(), n_epochs=50, learning_rate=0.1, target_kl=1e-3)
    model.learn(3)
    assert 1 <= model._n_updates < 50


def test_several_epochs_move_the_policy_further_and_are_counted(cue_env, make_model, record):
    models = [make_model(cue_env(), n_epochs=epochs, learning_rate=1e-2) for epochs in (1, 4)]
    start = models[0].policy.actor.bias.detach().clone()
    moved = []
    for model in models:
        record(model)
        model.learn(3)
        moved.append((model.policy.actor.bias - start).norm().item())
    assert moved[1] > 1.5 * moved[0]
    assert [model._n_updates for model in models] == [1, 4]


def test_the_learning_rate_follows_its_schedule(cue_env, make_model):
    rates = []
    model = make_model(cue_env(), learning_rate=lambda left: 1e-2 * left)
    step = model.policy.optimizer.step
    model.policy.optimizer.step = lambda: (
        rates.append(model.policy.optimizer.param_groups[0]["lr"]),
        step(),
    )
    model.learn(12)
    # Progress is counted after each rollout, as SB3 does.
    assert rates == pytest.approx([7.5e-3, 5e-3, 2.5e-3, 0.0])


def test_the_entropy_bonus_follows_its_schedule(cue_env, make_model, record):
    model = make_model(cue_env(), ent_coef=lambda left: 0.4 * left, vf_coef=0.5)
    dumps = record(model)
    model.learn(15)
    weights = [
        (d["train/policy_gradient_loss"] + 0.5 * d["train/value_loss"] - d["train/loss"])
        / d["train/entropy"]
        for d in dumps[1:]  # a dump has the numbers of the update before it
    ]
    assert weights == pytest.approx([0.32, 0.24, 0.16, 0.08], abs=1e-5)
