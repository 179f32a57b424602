"""GruPPO's update as adafocus_env/PUBLISHED.md has it, written out step by step in plain torch."""

import inspect
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from agents.gru_ppo.algorithm import GruPPO
from agents.gru_ppo.episode_buffer import Episodes
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.registry import PRESETS

N, T, ACTIONS = 5, 4, 16
PAPER = PRESETS["gru_ppo"]["paper"]


def _paper(**changes):
    policy_kwargs = {**PAPER["policy_kwargs"], "channels": 4, "hidden_dim": 8}
    return {**PAPER, "policy_kwargs": policy_kwargs, **changes}


def _gru_step(weights, x, h):
    """The GRU's equations."""
    from_input = x @ weights["gru.weight_ih_l0"].T + weights["gru.bias_ih_l0"]
    from_state = h @ weights["gru.weight_hh_l0"].T + weights["gru.bias_hh_l0"]
    reset_i, update_i, new_i = from_input.chunk(3, dim=1)
    reset_s, update_s, new_s = from_state.chunk(3, dim=1)
    reset, update = torch.sigmoid(reset_i + reset_s), torch.sigmoid(update_i + update_s)
    return (1 - update) * torch.tanh(new_i + reset * new_s) + update * h


def _evaluate(weights, observations):
    """Probabilities `(N, T, A)` and values `(N, T)`, from the zero state, step by step."""
    state = torch.zeros(len(observations), 8, dtype=torch.float64)
    probs, values = [], []
    for observation in observations.unbind(dim=1):
        x = torch.einsum("nchw,oc->nohw", observation, weights["conv"][:, :, 0, 0]).relu()
        x = (x.flatten(1) @ weights["linear.weight"].T + weights["linear.bias"]).relu()
        state = _gru_step(weights, x, state)
        logits = state @ weights["actor.weight"].T + weights["actor.bias"]
        probs.append(logits.exp() / logits.exp().sum(dim=1, keepdim=True))
        values.append((state @ weights["critic.weight"].T + weights["critic.bias"])[:, 0])
    return torch.stack(probs, dim=1), torch.stack(values, dim=1)


def _published_loss(weights, rollout):
    """The loss, and the probability ratios `(N, T)`."""
    rewards = rollout.rewards.double()
    returns = torch.zeros(N, T, dtype=torch.float64)
    for row in range(N):
        following = 0.0
        for t in reversed(range(T)):
            following = float(rewards[row, t]) + 0.7 * following
            returns[row, t] = following
    mean = returns.sum() / (N * T)
    deviation = ((returns - mean) ** 2).sum().div(N * T - 1).sqrt()
    returns = (returns - mean) / (deviation + 1e-5)
    probs, values = _evaluate(weights, rollout.observations.double())
    taken = probs.gather(2, rollout.actions[..., None])[..., 0]
    ratio = taken / rollout.old_log_probs.double().exp()
    advantage = returns - values.detach()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    entropy = -(probs * probs.log()).sum(dim=2)
    loss = (-surrogate - 0.01 * entropy).mean() + 0.5 * ((values - returns) ** 2).mean()
    return loss, ratio


def _renamed(state):
    names = {"encoder.convolution.0.weight": "conv", "encoder.linear.1.weight": "linear.weight"}
    names["encoder.linear.1.bias"] = "linear.bias"
    trained = {name: value for name, value in state.items() if not name.endswith((".mean", ".std"))}
    trained.pop("scale_is_fitted", None)
    return {
        names.get(name, name): value.double().requires_grad_() for name, value in trained.items()
    }


@pytest.fixture
def one_update(make_adapter, make_videos, spy, record):
    """A model of the preset `paper` after its first update, and what went into it."""
    env = make_adapter(N, grid_size=4, videos=make_videos(N))
    model = GruPPO(env=env, seed=3, device="cpu", **_paper())
    record(model)
    watcher = spy()
    model.learn(N * T, callback=watcher)
    before = watcher.weights[0]
    weights = _renamed(before)
    loss, ratio = _published_loss(weights, watcher.rollouts[0])
    loss.backward()
    return SimpleNamespace(
        model=model,
        logged=model.logger.name_to_value,
        before=before,
        weights=weights,
        rollout=watcher.rollouts[0],
        loss=loss.item(),
        ratio=ratio,
    )


def test_loss_and_gradients_are_the_published_ones(one_update):
    assert one_update.logged["train/loss"] == pytest.approx(one_update.loss, rel=1e-4)
    names = {"conv": "encoder.convolution.0.weight", "linear.weight": "encoder.linear.1.weight"}
    names["linear.bias"] = "encoder.linear.1.bias"
    parameters = dict(one_update.model.policy.named_parameters())
    assert len(parameters) == len(one_update.weights) == 11
    for name, weight in one_update.weights.items():
        got = parameters[names.get(name, name)].grad
        torch.testing.assert_close(
            got.double(), weight.grad, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )
        assert weight.grad.abs().max() > 1e-4, name
        # After one step of Adam both moments, bias corrected, are the gradient and its square.
    for name, parameter in parameters.items():
        gradient = parameter.grad
        expected = one_update.before[name] - 3e-4 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(parameter.data, expected, rtol=0.0, atol=2e-7)


def test_in_the_first_epoch_every_ratio_is_one_and_values_learn_the_normalised_returns(one_update):
    ratio, logged = one_update.ratio, one_update.logged
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.0, atol=1e-5)
    assert logged["train/clip_fraction"] == 0.0
    assert logged["train/approx_kl"] == pytest.approx(0.0, abs=1e-6)
    rollout = one_update.rollout
    expected = F.mse_loss(rollout.old_values, rollout.returns).item()
    assert logged["train/value_loss"] == pytest.approx(expected, rel=1e-4)
    assert rollout.returns.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert rollout.returns.std().item() == pytest.approx(1.0, abs=1e-3)


def test_the_preset_paper_trains_with_the_published_constants_and_is_nearly_the_default(one_update):
    model = one_update.model
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


def test_minibatches_give_one_step_each(cue_env, make_model, monkeypatch):
    model = make_model(cue_env(), episodes_per_row=5, batch_episodes=2, normalize_returns=False)
    seen = []
    loss = model._loss

    def counted(batch, *rest):
        seen.append(len(batch.actions))
        return loss(batch, *rest)

    monkeypatch.setattr(model, "_loss", counted)
    model.learn(15)
    assert sorted(seen) == [1, 2, 2]


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
