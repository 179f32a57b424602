"""GruActorCriticPolicy: sequences equal steps, memory ends with the episode, SB3's protocol."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.policies.distributions import inverse_cdf
from agents.policies.gru_policy import GruActorCriticPolicy

N, T = 3, 4


def _observations(shape=(3, 2, 2), seed=0):
    """`(N, T, ...)` within 0..6."""
    return 6.0 * torch.rand(N, T, *shape, generator=torch.Generator().manual_seed(seed))


def _uniforms():
    return torch.rand(N, T, generator=torch.Generator().manual_seed(1))


def _starts(*rows):
    return torch.tensor([row in rows for row in range(N)])


def _step_through(policy, observations, uniforms):
    state, starts, steps = policy.initial_state(N), _starts(0, 1, 2), []
    for t in range(observations.shape[1]):
        step = policy.step(observations[:, t], state, starts, uniforms=uniforms[:, t])
        state, starts = step.policy_state, _starts()
        steps.append(step)
    return steps


SPATIAL = {
    "head": "spatial",
    "patch_grid": {"grid_size": 4, "frame_size": 16, "patch_size": 6},
    "head_dim": 8,
}


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((3, 2, 2), {"clamp_probs": False}),
        ((3,), {"clamp_probs": True}),
        ((3, 2, 2), {"recurrent": False}),
        ((3, 3, 2), {**SPATIAL, "actions": 16, "standardize": True}),
        ((3, 2, 2), {**SPATIAL, "actions": 17, "recurrent": False, "batch_norm": True}),
    ],
    ids=["map", "vector", "no memory", "spatial", "spatial, skip, no memory"],
)
def test_a_whole_sequence_equals_its_steps(make_policy, shape, arguments):
    policy = make_policy(shape=shape, **arguments)
    policy.set_training_mode(False)
    policy.fit_scale_once(_observations(shape)[:, 0])
    observations, uniforms = _observations(shape), _uniforms()
    steps = _step_through(policy, observations, uniforms)
    distribution, values = policy.evaluate_episodes(observations)
    actions = inverse_cdf(distribution.probs, uniforms)
    assert torch.equal(actions, torch.stack([step.actions for step in steps], dim=1))
    assert len(actions.unique()) > 1
    torch.testing.assert_close(values, torch.stack([step.values for step in steps], dim=1))
    torch.testing.assert_close(
        distribution.log_prob(actions), torch.stack([step.log_probs for step in steps], dim=1)
    )
    step = steps[0]
    assert (step.actions.shape, step.actions.dtype) == ((N,), torch.int64)
    assert step.values.shape == step.log_probs.shape == (N,)
    assert step.policy_state.shape == (N, 8 * arguments.get("recurrent", True))


def test_an_episode_start_forgets_the_state_of_its_row_alone(make_policy):
    policy = make_policy()
    observations = _observations()[:, 0]
    state = torch.randn(N, 8, generator=torch.Generator().manual_seed(2))
    kept = policy.step(observations, state, _starts(), deterministic=True)
    reset = policy.step(observations, state, _starts(1), deterministic=True)
    zero = policy.step(observations, torch.zeros(N, 8), _starts(), deterministic=True)
    torch.testing.assert_close(reset.policy_state[[0, 2]], kept.policy_state[[0, 2]])
    torch.testing.assert_close(reset.policy_state[1], zero.policy_state[1])
    assert not torch.allclose(reset.values[1], kept.values[1], atol=1e-4)


def test_two_episodes_in_a_row_equal_the_same_episodes_alone(make_policy):
    policy = make_policy()
    first, second, uniforms = _observations(seed=3), _observations(seed=4), _uniforms()
    alone = [_step_through(policy, episode, uniforms) for episode in (first, second)]
    state, starts, actions, values = policy.initial_state(N), _starts(0, 1, 2), [], []
    for t, observation in enumerate(torch.cat([first, second], dim=1).unbind(dim=1)):
        # What was remembered of the first episode is still in the state that is passed in.
        starts = _starts(0, 1, 2) if t in (0, T) else _starts()
        step = policy.step(observation, state, starts, uniforms=uniforms[:, t % T])
        state = step.policy_state
        actions.append(step.actions)
        values.append(step.values)
    expected = [step for episode in alone for step in episode]
    assert torch.equal(torch.stack(actions), torch.stack([step.actions for step in expected]))
    torch.testing.assert_close(torch.stack(values), torch.stack([step.values for step in expected]))


def test_what_was_seen_earlier_changes_what_is_done_later_and_later_frames_nothing_earlier(
    make_policy,
):
    policy = make_policy()
    one, other = _observations(seed=5), _observations(seed=5)
    other[:, 0] = 6.0 - other[:, 0]
    logits = [policy.evaluate_episodes(seen)[0].logits for seen in (one, other)]
    assert (logits[0][:, -1] - logits[1][:, -1]).abs().max() > 1e-4

    other = _observations(seed=5)
    other[:, 2:] = 6.0 - other[:, 2:]
    first, second = (policy.evaluate_episodes(seen)[1] for seen in (one, other))
    torch.testing.assert_close(first[:, :2], second[:, :2])


def test_the_deterministic_action_is_the_most_probable_one(make_policy):
    policy, observations = make_policy(), _observations()
    step = policy.step(observations[:, 0], policy.initial_state(N), _starts(), deterministic=True)
    logits = policy.evaluate_episodes(observations)[0].logits[:, 0]
    assert torch.equal(step.actions, logits.argmax(dim=1))
    actions, values, log_probs = policy(observations[:, 0], deterministic=True)
    assert torch.equal(actions, step.actions)
    torch.testing.assert_close(values, step.values)
    torch.testing.assert_close(log_probs, step.log_probs)


def test_actions_without_uniforms_are_drawn_as_often_as_they_are_probable(make_policy):
    policy = make_policy()
    row = _observations()[:1, 0]
    probs = policy.evaluate_episodes(row[:, None])[0].probs[0, 0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = policy.step(
            row.expand(4000, -1, -1, -1), policy.initial_state(4000), torch.ones(4000).bool()
        )
    frequencies = step.actions.bincount(minlength=5) / 4000
    torch.testing.assert_close(frequencies, probs, rtol=0.0, atol=0.04)  # 5 deviations


def test_predict_follows_episodes_as_evaluate_episodes_does(make_policy):
    policy, observations = make_policy(), _observations()
    best = policy.evaluate_episodes(observations)[0].logits.argmax(dim=2).numpy()
    state = None
    for t in range(T):
        starts = np.array([t == 0] * N)
        seen = observations[:, t].numpy()
        actions, state = policy.predict(seen, state, starts, deterministic=True)
        assert actions.tolist() == best[:, t].tolist()
        assert isinstance(state, tuple)
        assert state[0].shape == (N, 8)


def test_predict_takes_one_observation_and_gives_one_action(make_policy):
    policy, observations = make_policy(), _observations().numpy()
    batched, _ = policy.predict(observations[:, 0], deterministic=True)
    action, state = policy.predict(observations[0, 0], deterministic=True)
    assert np.shape(action) == ()
    assert int(action) == batched[0]
    assert policy.action_space.contains(action)
    assert state[0].shape == (1, 8)
    again, _ = policy.predict(observations[0, 1], state, np.array([False]))
    assert np.shape(again) == ()


def test_predict_begins_anew_where_it_is_told_that_an_episode_starts(make_policy):
    policy, (first, second, *_) = make_policy(), _observations().transpose(0, 1).numpy()
    _, state = policy.predict(first)
    before = state[0].copy()
    _, after = policy.predict(second, state, np.array([False, True, False]))
    _, fresh = policy.predict(second)
    _, kept = policy.predict(second, state, np.zeros(N, bool))
    np.testing.assert_allclose(after[0][1], fresh[0][1], atol=1e-6)
    np.testing.assert_allclose(after[0][[0, 2]], kept[0][[0, 2]], atol=1e-6)
    assert np.abs(after[0][0] - fresh[0][0]).max() > 1e-4
    np.testing.assert_array_equal(state[0], before)
    with pytest.raises(ValueError, match="episode_start"):
        policy.predict(second, state)


@pytest.mark.parametrize(
    ("clamp_probs", "log_prob"),
    [(True, math.log(2.0**-23)), (False, -200.0)],
    ids=["published", "log-softmax"],
)
def test_log_probs_of_hopeless_actions(make_policy, clamp_probs, log_prob):
    policy = make_policy(clamp_probs=clamp_probs)
    with torch.no_grad():
        policy.actor.weight.zero_()
        policy.actor.bias.copy_(torch.tensor([100.0, -100.0, -100.0, -100.0, -100.0]))
    distribution, _ = policy.evaluate_episodes(_observations())
    hopeless = distribution.log_prob(torch.ones(N, T, dtype=torch.int64))
    torch.testing.assert_close(hopeless, torch.full((N, T), log_prob), rtol=0.0, atol=1e-4)


def test_clamping_changes_no_log_prob_of_a_likely_action(make_policy):
    clamped, plain = (
        make_policy(clamp_probs=clamp).evaluate_episodes(_observations())[0]
        for clamp in (True, False)
    )
    for action in range(5):
        chosen = torch.full((N, T), action)
        torch.testing.assert_close(clamped.log_prob(chosen), plain.log_prob(chosen))


def test_the_value_loss_shapes_encoder_and_gru_unless_it_is_detached(make_policy):
    def reached(loss_of, detach_value):
        policy = make_policy(detach_value=detach_value)
        loss_of(*policy.evaluate_episodes(_observations())).backward()
        parameters = policy.named_parameters()
        return {n.split(".")[0] for n, p in parameters if p.grad is not None and p.grad.any()}

    assert reached(lambda _, values: values.square().sum(), True) == {"critic"}
    assert reached(lambda _, values: values.square().sum(), False) == {"critic", "encoder", "gru"}
    assert reached(lambda chances, _: chances.entropy().sum(), True) == {"actor", "encoder", "gru"}


def test_the_published_policy_has_7996466_parameters_and_sees_maps_as_they_are(make_policy):
    with torch.device("meta"):
        policy = GruActorCriticPolicy(
            spaces.Box(0.0, 6.0, (1280, 7, 7), np.float32),
            spaces.Discrete(49),
            lambda _: 3e-4,
            channels=32,
            hidden_dim=1024,
        )
    assert sum(parameter.numel() for parameter in policy.parameters()) == 7_996_466
    # Maps are not divided as images are.
    observation = np.full((2, 3, 2, 2), 5.5, np.float32)
    assert (make_policy().obs_to_tensor(observation)[0] == 5.5).all()


def test_orthogonal_policies_start_nearly_uniform_and_nearly_without_memory(make_policy):
    policy = make_policy(orthogonal=True)
    observations = _observations()
    probs = policy.evaluate_episodes(observations)[0].probs
    torch.testing.assert_close(probs, torch.full_like(probs, 0.2), rtol=0.0, atol=0.01)
    state = torch.ones(N, 8)
    with torch.no_grad():
        for parameter in policy.gru.parameters():
            if parameter.dim() == 2:
                parameter.zero_()
    # Without inputs the candidate is 0, so sigmoid(-2) of the state is left.
    step = policy.step(observations[:, 0], state, _starts(), deterministic=True)
    kept = 1 / (1 + math.exp(2.0))
    torch.testing.assert_close(step.policy_state, torch.full((N, 8), kept))


def test_the_scale_is_mean_and_deviation_of_each_channel(make_policy):
    policy = make_policy(shape=(2, 1, 2), standardize=True)
    # Channel 0 holds 1, 3, 5, 7: mean 4, unbiased variance (9 + 1 + 1 + 9) / 3. Channel 1 is 2.
    observations = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]], [[[5.0, 7.0]], [[2.0, 2.0]]]])
    policy.fit_scale_once(observations)
    assert policy.encoder.mean.flatten().tolist() == [4.0, 2.0]
    expected = torch.tensor([math.sqrt(20 / 3), 1.0])
    torch.testing.assert_close(policy.encoder.std.flatten(), expected)


def test_the_scale_is_fitted_once_and_without_standardisation_stays_one(make_policy):
    policy = make_policy(standardize=True)
    policy.fit_scale_once(_observations()[:, 0])
    mean = policy.encoder.mean.clone()
    policy.fit_scale_once(_observations(seed=9)[:, 0] + 100.0)
    assert torch.equal(policy.encoder.mean, mean)
    assert mean.abs().min() > 0.1

    policy = make_policy(standardize=False)
    policy.fit_scale_once(_observations()[:, 0])
    assert policy.encoder.mean.tolist() == torch.zeros(1, 3, 1, 1).tolist()
    assert policy.encoder.std.tolist() == torch.ones(1, 3, 1, 1).tolist()


def test_the_scale_takes_the_scale_out_of_the_observations(make_policy):
    small, large = make_policy(standardize=True), make_policy(standardize=True)
    observations = _observations()
    small.fit_scale_once(observations.flatten(0, 1))
    large.fit_scale_once(observations.flatten(0, 1) * 10.0 + 3.0)
    torch.testing.assert_close(
        small.evaluate_episodes(observations)[1],
        large.evaluate_episodes(observations * 10.0 + 3.0)[1],
        rtol=0.0,
        atol=1e-5,
    )


def test_loaded_weights_bring_their_scale_and_do_not_fit_again(make_policy):
    fitted, loaded = make_policy(standardize=True), make_policy(standardize=True, seed=1)
    fitted.fit_scale_once(_observations()[:, 0])
    loaded.load_state_dict(fitted.state_dict())
    loaded.fit_scale_once(_observations(seed=9)[:, 0] + 100.0)
    assert torch.equal(loaded.encoder.mean, fitted.encoder.mean)
    assert torch.equal(loaded.encoder.std, fitted.encoder.std)


def test_a_policy_saved_as_sb3_saves_policies_acts_the_same(make_policy, tmp_path):
    arguments = {"detach_value": True, "clamp_probs": True, "standardize": True}
    policy = make_policy(**arguments)
    policy.fit_scale_once(_observations()[:, 0])
    policy.save(str(tmp_path / "policy.pt"))
    loaded = GruActorCriticPolicy.load(str(tmp_path / "policy.pt"), device="cpu")
    assert loaded.arguments() == policy.arguments()
    assert loaded.arguments().items() >= arguments.items()
    for got, expected in zip(
        (loaded.evaluate_episodes(_observations())[1], loaded.scale_is_fitted),
        (policy.evaluate_episodes(_observations())[1], policy.scale_is_fitted),
        strict=True,
    ):
        assert torch.equal(got, expected)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (spaces.Box(0.0, 6.0, (3, 2, 2)), spaces.Box(-1.0, 1.0, (2,)), r"Box\(0, 1, \(2,\)\)"),
        (spaces.Box(0.0, 6.0, (3, 2, 2)), spaces.Box(0.0, 1.0, (3,)), "Discrete"),
        (spaces.Box(0.0, 6.0, (3, 2, 2)), spaces.MultiDiscrete([3, 3]), "Discrete"),
        (spaces.Box(0.0, 6.0, (3, 2)), spaces.Discrete(4), "maps or vectors"),
        (spaces.Discrete(3), spaces.Discrete(4), "maps or vectors"),
    ],
    ids=["centred", "three numbers", "several", "2-D", "no box"],
)
def test_spaces_that_it_cannot_act_in_are_refused(observation_space, action_space, message):
    with pytest.raises(ValueError, match=message):
        GruActorCriticPolicy(observation_space, action_space, lambda _: 1e-3)
    with pytest.raises(ValueError, match="no state-dependent exploration"):
        GruActorCriticPolicy(
            spaces.Box(0.0, 6.0, (3,)), spaces.Discrete(4), lambda _: 1e-3, use_sde=True
        )
