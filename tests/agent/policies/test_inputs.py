"""Policies on environments of other observations and locations than they were trained on."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO

from agents.evaluation import evaluate_agent, replay_actions
from agents.policies.inputs import seen_by
from agents.rollout import best_actions
from agents.sb3.vec_env import CenteredActions


def test_a_policy_of_vectors_sees_the_mean_of_a_map(make_policy):
    maps = torch.arange(2.0 * 3 * 4 * 2 * 2).view(2, 3, 4, 2, 2)
    seen = seen_by(make_policy(shape=(4,)), maps)
    assert seen.shape == (2, 3, 4)
    assert seen[0, 0].tolist() == [1.5, 5.5, 9.5, 13.5]
    assert seen_by(make_policy(shape=(4,)), seen) is seen
    assert seen_by(make_policy(shape=(4, 2, 2)), maps) is maps
    assert seen_by(object(), maps) is maps


def test_the_cost_is_the_last_channel_for_policies_that_say_so_and_gone_for_others(make_policy):
    maps, costs = torch.rand(2, 3, 4, 2, 2), torch.tensor([0.0, 0.025])
    policy = make_policy(shape=(5, 2, 2))
    with pytest.raises(ValueError, match=r"sees \(5, 2, 2\), but is shown \(4, 2, 2\); .* = True"):
        seen_by(policy, maps, skip_costs=costs)
    policy.sees_cost = True
    told = seen_by(policy, maps, skip_costs=costs)
    assert (told[:, :, :4] == maps).all()
    assert (told[0, :, 4] == 0.0).all()
    torch.testing.assert_close(told[1, :, 4], torch.full((3, 2, 2), 3.0))  # half of the bound 6
    assert seen_by(policy, told, shows_cost=True) is told
    assert (seen_by(make_policy(shape=(4, 2, 2)), told, shows_cost=True) == maps).all()
    assert seen_by(object(), told, shows_cost=True) is told
    policy = make_policy(shape=(5,))
    policy.sees_cost = True
    assert seen_by(policy, maps, skip_costs=costs).shape == (2, 3, 5)


def test_a_policy_of_vectors_acts_on_maps_as_on_vectors(make_vector_env, make_adapter):
    model = DQN("MlpPolicy", make_adapter(2, observation="vector"), seed=0, buffer_size=10)
    evaluations = [
        evaluate_agent(
            make_vector_env(2, observation=observation, autoreset_mode="disabled"), model
        )
        for observation in ("map", "vector")
    ]
    np.testing.assert_array_equal(evaluations[0].actions, evaluations[1].actions)


def test_the_memory_of_a_policy_lasts_for_an_episode_and_no_longer(make_adapter):
    env = make_adapter(3, observation="vector")
    model = RecurrentPPO("MlpLstmPolicy", env, n_steps=4, batch_size=12, seed=0, device="cpu")
    observations = 6 * torch.rand(3, 4, 48, generator=torch.Generator().manual_seed(0))
    actions = best_actions(model.policy, observations)
    state = None
    for t in range(4):
        expected, state = model.policy.predict(
            observations[:, t].numpy(), state, np.full(3, t == 0), deterministic=True
        )
        assert actions[:, t].tolist() == expected.tolist()
    assert (best_actions(model.policy, observations) == actions).all()


@pytest.mark.parametrize("trained_on", ["grid", "continuous"])
def test_a_policy_looks_at_the_same_places_whatever_the_environments_actions_are(
    make_vector_env, make_adapter, trained_on
):
    env = make_adapter(2, locations=trained_on)
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=8, seed=0, device="cpu")
    one, other = (
        evaluate_agent(make_vector_env(2, locations=locations, autoreset_mode="disabled"), model)
        for locations in ("grid", "continuous")
    )
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_allclose(one.rewards, other.rewards, atol=1e-6)
    again = replay_actions(make_vector_env(2, autoreset_mode="disabled"), one)
    np.testing.assert_array_equal(again.boxes, one.boxes)


def test_centred_actions_span_the_environments_range(make_adapter):
    env = CenteredActions(make_adapter(3, locations="continuous"))
    assert env.action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    env.reset()
    _, _, _, infos = env.step(np.array([[-1.0, -1.0], [0.0, 1.0], [1.0, -0.5]]))
    assert [info["patch_box"][:2].tolist() for info in infos] == [[0, 0], [14, 28], [28, 7]]
