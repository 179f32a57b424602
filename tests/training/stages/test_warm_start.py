"""A policy that may skip starts from one that knows where to look."""

import pytest
import torch

from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.inputs import seen_by
from train.config.keys import ConfigError
from train.stages.policy.warm_start import start_from


def _policy(env, **arguments):
    sizes = {"channels": 4, "hidden_dim": 8, "standardize": True, **arguments}
    policy = GruActorCriticPolicy(
        env.single_observation_space, env.single_action_space, lambda _: 1e-3, **sizes
    )
    policy.sees_cost = env.shows_cost
    return policy


SPATIAL = {
    "head": "spatial",
    "patch_grid": {"grid_size": 7, "frame_size": 40, "patch_size": 12},
}


def _plain(env, **arguments):
    """Acts on 49 positions, and is sure of them."""
    torch.manual_seed(3)
    env.reset(seed=0)
    policy = _policy(env, **arguments)
    policy.fit_scale_once(env.core.observe())
    with torch.no_grad():
        outputs = policy.actor.score if arguments else policy.actor
        outputs.weight.mul_(10.0)
    return policy


@pytest.fixture
def plain(make_vector_env):
    """The published network."""
    return _plain(make_vector_env(3))


@pytest.fixture
def skip_env(make_vector_env):
    """Frames can be skipped, at random costs."""
    env = make_vector_env(3, locations="skip", reward="skip", skip_cost="random")
    env.reset(seed=0)
    return env


@torch.no_grad()
@pytest.mark.parametrize("arguments", [{}, SPATIAL], ids=["flat", "spatial"])
def test_it_looks_where_the_earlier_one_looked_and_skips_half_of_the_time_at_any_cost(
    make_vector_env, skip_env, arguments
):
    plain = _plain(make_vector_env(3), **arguments)
    policy = _policy(skip_env, **arguments)
    start_from(policy, plain, skip_env)
    observations = skip_env.observe_episode()
    probs = policy.evaluate_episodes(observations)[0].probs
    before = plain.evaluate_episodes(seen_by(plain, observations, shows_cost=True))[0].logits
    assert (probs[..., :49].argmax(-1) == before.argmax(-1)).all()
    odds = (probs[:, 0, -1] / (1 - probs[:, 0, -1])).log().mean()
    assert odds.item() == pytest.approx(0.0, abs=1e-4)
    policy = _policy(skip_env, **arguments)
    start_from(policy, plain, skip_env)
    glances = skip_env.observe_episode()[:, :, :-1]
    free, dear = (
        policy.evaluate_episodes(seen_by(policy, glances, skip_costs=torch.full((3,), cost)))[
            0
        ].probs
        for cost in (0.0, 0.2)
    )
    torch.testing.assert_close(free, dear)


def test_it_may_also_start_from_one_of_its_own_kind(skip_env, changed):
    earlier, policy = _policy(skip_env), _policy(skip_env)
    earlier.fit_scale_once(skip_env.core.observe())
    start_from(policy, earlier, skip_env)
    assert not changed(policy.actor, earlier.actor)


def test_other_sizes_are_refused(plain, skip_env):
    with pytest.raises(ConfigError, match=r"use the same algo\.policy_kwargs"):
        start_from(_policy(skip_env, hidden_dim=16), plain, skip_env)
    with pytest.raises(ConfigError, match=r"use the same algo\.policy_kwargs\.head"):
        start_from(_policy(skip_env, **SPATIAL), plain, skip_env)
