"""The spatial head in SB3's algorithms: one score a position there too, from files and by name."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO

from agents.policies.glance_extractor import GlanceMapExtractor
from agents.policies.policy_files import load_policy, policy_arguments, save_policy
from agents.policies.spatial_head import patch_grid_numbers
from agents.policies.spatial_lstm_policy import SpatialLstmPolicy
from agents.policies.spatial_policy import SpatialPolicy
from agents.sb3.registry import algorithm_arguments

MAPS = spaces.Box(0.0, 6.0, (3, 4, 4), np.float32)
TILES = {"grid_size": 4, "frame_size": 16, "patch_size": 4}
EXTRACTOR = {
    "features_extractor_class": GlanceMapExtractor,
    "features_extractor_kwargs": {"channels": 2, "features_dim": 4},
}


def _seen():
    return 6.0 * torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_what_is_shown_elsewhere_is_scored_alike_there():
    policy = SpatialPolicy(MAPS, spaces.Discrete(16), lambda _: 1e-3, patch_grid=TILES)
    maps, order = _seen(), torch.randperm(16, generator=torch.Generator().manual_seed(1))
    moved = maps.flatten(-2)[..., order].unflatten(-1, (4, 4))
    before, after = (policy.get_distribution(m).distribution.logits for m in (maps, moved))
    torch.testing.assert_close(after, before[:, order])
    assert before.std(dim=1).min() > 0.0
    torch.testing.assert_close(policy.predict_values(moved), policy.predict_values(maps))


@torch.no_grad()
@pytest.mark.parametrize("shared", [True, False])
def test_features_that_are_asked_for_reach_the_scores(shared):
    policy = SpatialPolicy(
        MAPS,
        spaces.Discrete(17),
        lambda _: 1e-3,
        patch_grid=TILES,
        share_features_extractor=shared,
        net_arch=[6],
        **EXTRACTOR,
    )
    before = policy.get_distribution(_seen()).distribution.logits
    policy.pi_features_extractor.extractor.encoder.linear[1].bias += 1.0
    after = policy.get_distribution(_seen()).distribution.logits
    assert (before - after).abs().amax(dim=0).min() > 0.0
    actions, values, log_probs = policy(_seen())
    again = policy.evaluate_actions(_seen(), actions)
    torch.testing.assert_close(again[0], values)
    torch.testing.assert_close(again[1], log_probs)


@pytest.mark.parametrize("algorithm", [PPO, A2C, RecurrentPPO])
def test_algorithms_take_it_by_name_learn_with_it_and_save_it(algorithm, make_adapter, tmp_path):
    env = make_adapter(2)
    lstm = algorithm is RecurrentPPO
    shared = {"lstm_hidden_size": 4, "shared_lstm": True, "enable_critic_lstm": False}
    name = {PPO: "ppo", A2C: "a2c", RecurrentPPO: "recurrent_ppo"}[algorithm]
    given = {
        "policy": "SpatialLstmPolicy" if lstm else "SpatialPolicy",
        "policy_kwargs": {
            **(shared if lstm else {}),
            "patch_grid": patch_grid_numbers(env.env.patch_grid),
            "features_extractor_class": "glance_map",
            "features_extractor_kwargs": {"channels": 2, "features_dim": 4},
        },
    }
    arguments = algorithm_arguments(name, None, given)
    assert arguments["policy"] is (SpatialLstmPolicy if lstm else SpatialPolicy)
    batch = {} if algorithm is A2C else {"batch_size": 8}
    model = algorithm(env=env, n_steps=4, seed=0, device="cpu", **batch, **arguments)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(16)
    changed = {n for n, value in model.policy.state_dict().items() if (value != before[n]).any()}
    assert {"action_net.head.cells.weight", "value_net.head.frame.weight"} <= changed
    save_policy(model.policy, tmp_path, recognizer_sha256=None, arguments=policy_arguments(model))
    loaded = load_policy(tmp_path).policy
    assert type(loaded) is arguments["policy"]
    seen = model.env.reset()
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )


@torch.no_grad()
def test_an_lstm_remembers_for_the_scores_and_steps_as_it_learns():
    policy = SpatialLstmPolicy(
        MAPS,
        spaces.Discrete(16),
        lambda _: 1e-3,
        patch_grid=TILES,
        lstm_hidden_size=4,
    )
    zeros = tuple(torch.zeros(1, 1, 4) for _ in range(2))
    starts = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    # SB3 keeps one distribution and changes it.
    whole = policy.get_distribution(_seen(), zeros, starts)[0].distribution.logits
    state, logits = zeros, []
    for frame, start in zip(_seen().split(1), starts.split(1), strict=True):
        step, state = policy.get_distribution(frame, state, start)
        logits.append(step.distribution.logits)
    torch.testing.assert_close(torch.cat(logits), whole)
    forgotten, _ = policy.get_distribution(_seen()[-1:], zeros, torch.ones(1))
    assert not torch.allclose(forgotten.distribution.logits, logits[-1])


@pytest.mark.parametrize(
    ("name", "policy", "entry", "message"),
    [
        ("ppo", "SpatialLstmPolicy", {}, "unknown policy of PPO 'SpatialLstmPolicy'"),
        ("dqn", "SpatialPolicy", {}, "unknown policy of DQN 'SpatialPolicy'"),
        ("ppo", "SpatialPolicy", {"head_dims": 3}, "'head_dims'; did you mean 'head_dim'"),
        ("recurrent_ppo", "SpatialLstmPolicy", {"shared": 1}, "'shared'; did you mean 'shared_ls"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(name, policy, entry, message):
    with pytest.raises(ValueError, match=message):
        algorithm_arguments(name, None, {"policy": policy, "policy_kwargs": entry})


def test_a_critic_without_memory_and_a_missing_grid_are_refused():
    arguments = {"shared_lstm": False, "enable_critic_lstm": False}
    with pytest.raises(ValueError, match="needs shared_lstm=True, or enable_critic_lstm=True"):
        SpatialLstmPolicy(MAPS, spaces.Discrete(16), lambda _: 1e-3, patch_grid=TILES, **arguments)
    with pytest.raises(ValueError, match="must be told where the patches"):
        SpatialPolicy(MAPS, spaces.Discrete(16), lambda _: 1e-3)
