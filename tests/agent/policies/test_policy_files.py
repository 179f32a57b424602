"""Policies on disk: safetensors and JSON that run no code, and what is wrong with bad ones."""

import json
import os

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy

from adafocus_env.networks import CheckpointError
from agents.policies.glance_extractor import GlanceMapExtractor
from agents.policies.policy_files import load_policy, load_trusted_zip, save_policy

SHA = "ab" * 32


@pytest.fixture
def saved(make_policy, tmp_path):
    """A policy's folder."""
    save_policy(make_policy(), tmp_path / "policy", recognizer_sha256=SHA)
    return tmp_path / "policy"


def _change(folder, **entries):
    """Set entries of `policy.json`; None removes them."""
    file = folder / "policy.json"
    description = {**json.loads(file.read_text()), **entries}
    kept = {name: v for name, v in description.items() if name not in entries or v is not None}
    file.write_text(json.dumps(kept))


SWITCHES = {"standardize": True, "detach_value": True, "orthogonal": True, "clamp_probs": True}
SPATIAL = {
    "actions": 17,
    "head": "spatial",
    "patch_grid": {"grid_size": 4, "frame_size": 16, "patch_size": 6},
}
LOCATIONS = {"actions": None, "action_std": 0.1, "clip_log_probs": True}


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((3,), {}),
        ((3, 2, 2), SWITCHES),
        ((3, 2, 2), {"batch_norm": True}),
        ((3,), {**SWITCHES, **LOCATIONS}),
        ((3, 2, 2), {**SWITCHES, **SPATIAL, "batch_norm": True, "dropout": 0.5}),
        ((3, 2, 2), {**SPATIAL, "recurrent": False}),
    ],
    ids=["vector", "all switches", "batch norm", "continuous", "spatial", "spatial, no memory"],
)
def test_a_loaded_policy_equals_the_saved_one(make_policy, tmp_path, shape, arguments):
    policy = make_policy(shape=shape, **arguments)
    observations = 6.0 * torch.rand(2, 4, *shape, generator=torch.Generator().manual_seed(0))
    policy.fit_scale_once(observations[:, 0])
    policy.set_training_mode(True)
    policy.evaluate_episodes(observations)  # batch normalisation gets running statistics
    policy.set_training_mode(False)
    save_policy(policy, tmp_path / "deep" / "folder", recognizer_sha256=SHA)
    loaded = load_policy(tmp_path / "deep" / "folder")
    assert loaded.recognizer_sha256 == SHA
    assert loaded.policy.observation_space == policy.observation_space
    assert loaded.policy.action_space == policy.action_space
    assert loaded.policy.arguments() == policy.arguments()
    assert not loaded.policy.training
    got, expected = (p.evaluate_episodes(observations) for p in (loaded.policy, policy))
    actions = expected[0].draw(torch.full((2, 4, *policy.head.uniform_shape), 0.99))
    assert torch.equal(got[0].best(), expected[0].best())
    assert torch.equal(got[0].log_prob(actions), expected[0].log_prob(actions))
    assert torch.equal(got[1], expected[1])


@pytest.mark.parametrize("sees_cost", [True, False])
def test_a_file_says_whether_the_policy_sees_the_cost_and_older_ones_show_it(
    make_policy, tmp_path, sees_cost
):
    policy = make_policy(shape=(3, 2, 2))
    policy.sees_cost = sees_cost
    save_policy(policy, tmp_path, recognizer_sha256=SHA, glancer_sha256=SHA)
    assert load_policy(tmp_path, glance_channels=3).policy.sees_cost is sees_cost
    _change(tmp_path, sees_cost=None)
    assert load_policy(tmp_path, glance_channels=2).policy.sees_cost is True
    assert load_policy(tmp_path, glance_channels=3).policy.sees_cost is False


def test_a_policy_is_two_files_that_hold_no_code(saved):
    assert sorted(file.name for file in saved.iterdir()) == ["policy.json", "policy.safetensors"]
    description = json.loads((saved / "policy.json").read_text())
    assert description["observation_shape"] == [3, 2, 2]
    assert description["observation_bound"] == 6.0
    assert description["num_actions"] == 5
    assert description["format_version"] == 1
    weights = load_file(saved / "policy.safetensors")
    assert weights["actor.weight"].shape == (5, 8)
    for file in saved.iterdir():
        assert b"pickle" not in file.read_bytes()
        assert file.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x04")


def test_saving_again_replaces_the_policy(saved, make_policy):
    other = make_policy(seed=1)
    save_policy(other, saved, recognizer_sha256="cd" * 32)
    loaded = load_policy(saved)
    assert loaded.recognizer_sha256 == "cd" * 32
    assert torch.equal(loaded.policy.actor.weight, other.actor.weight)
    assert len(os.listdir(saved)) == 2


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing; 'adafocus stage2' makes one"):
        load_policy(saved)


def test_a_run_folder_instead_of_its_policy_is_named_with_it(saved, tmp_path):
    saved.rename(tmp_path / "policy")
    with pytest.raises(FileNotFoundError, match=rf"did you mean {tmp_path}/policy\?"):
        load_policy(tmp_path)


def test_a_description_that_is_none_is_a_checkpoint_error(saved):
    for text in ("", "{", "[]", "null", "7", '"policy"', "{}"):
        (saved / "policy.json").write_text(text)
        with pytest.raises(CheckpointError, match=str(saved)):
            load_policy(saved)


@pytest.mark.parametrize(
    "name",
    [
        *("format_version", "observation_shape", "observation_bound", "num_actions"),
        *("recognizer_sha256", "arguments"),
    ],
)
def test_a_missing_entry_is_a_checkpoint_error_that_names_it(saved, name):
    _change(saved, **{name: None})
    with pytest.raises(CheckpointError, match=name):
        load_policy(saved)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format_version": 3}, "format_version is 3, this package reads 1 and 2"),
        ({"num_actions": 6}, "actor"),
        ({"num_actions": 0}, None),
        ({"num_actions": "many"}, None),
        ({"observation_shape": [3, 2]}, "maps or vectors"),
        ({"observation_shape": [4, 2, 2]}, "encoder"),
        ({"observation_shape": "map"}, None),
        ({"observation_bound": "high"}, None),
        ({"arguments": {"hidden_dim": 16}}, "gru"),
        ({"arguments": {"layers": 3}}, "layers"),
        ({"arguments": {"hidden_dim": 10**7}}, "need more weights than the file has"),
        ({"arguments": {"hidden_dim": "many"}}, "describes no usable policy"),
        ({"num_actions": 10**9}, "num_actions should be less than or equal to 65536"),
        ({"num_actions": True}, "num_actions should be a valid integer"),
        ({"action_range": [0.0, 1.0]}, "either num_actions or action_range"),
        ({"observation_shape": [60000, 60000, 2]}, "is too large"),
        ({"observation_bound": float("inf")}, "observation_bound should be a finite number"),
        ({"class_path": "os.system"}, "class_path is unknown"),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_a_checkpoint_error(saved, entries, message):
    _change(saved, **entries)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_policy(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_read_or_are_anothers_are_a_checkpoint_error(saved):
    file = saved / "policy.safetensors"
    weights, whole = load_file(file), file.read_bytes()
    for content in (b"", b"not safetensors", b"PK\x03\x04", whole[:-100]):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=str(saved)):
            load_policy(saved)
    weights["critic.bias"][0] = float("inf")
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=f"{file}: 1 of the 1 numbers in critic.bias are not"):
        load_policy(saved)
    weights.pop("critic.bias")
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=r"critic\.bias"):
        load_policy(saved)


def _sb3_policies():
    vectors = spaces.Box(0.0, 6.0, (5,), np.float32)
    maps = spaces.Box(0.0, 6.0, (3, 2, 2), np.float32)
    grid, anywhere = spaces.Discrete(16), spaces.Box(-1.0, 1.0, (2,), np.float32)
    small = {"net_arch": [4], "activation_fn": torch.nn.ELU}
    extractor = {
        "features_extractor_class": GlanceMapExtractor,
        "features_extractor_kwargs": {"channels": 2, "features_dim": 4},
    }
    lstm = {"lstm_hidden_size": 4, "n_lstm_layers": 2, "shared_lstm": True}
    return {
        "actor-critic": (ActorCriticPolicy, vectors, grid, small),
        "not shared": (ActorCriticPolicy, maps, grid, {**extractor, "share_features_extractor": 0}),
        "gSDE": (ActorCriticPolicy, vectors, anywhere, {**small, "use_sde": True}),
        "dqn": (DQNPolicy, maps, grid, {**small, **extractor}),
        "sac": (SACPolicy, vectors, anywhere, {**small, "n_critics": 3}),
        "td3": (TD3Policy, vectors, anywhere, small),
        "lstm": (
            RecurrentActorCriticPolicy,
            vectors,
            grid,
            {**small, **lstm, "enable_critic_lstm": False},
        ),
        "qrdqn": (QRDQNPolicy, vectors, grid, {**small, "n_quantiles": 3}),
    }


@pytest.mark.parametrize("case", _sb3_policies())
def test_a_policy_of_sb3_comes_back_from_safetensors_and_json(tmp_path, case):
    cls, sees, acts, arguments = _sb3_policies()[case]
    policy = cls(sees, acts, lambda _: 1e-3, **arguments)
    given = {**arguments, "optimizer_class": torch.optim.SGD}
    save_policy(policy, tmp_path, recognizer_sha256=SHA, arguments=given)
    loaded = load_policy(tmp_path).policy
    assert type(loaded) is cls
    assert (loaded.observation_space, loaded.action_space) == (sees, acts)
    assert not loaded.training
    seen = np.random.default_rng(0).uniform(0, 6, (7, *sees.shape)).astype(np.float32)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], policy.predict(seen, deterministic=True)[0]
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"class": "os.system"}, "class 'os.system' is none of ActorCriticPolicy, DQNPolicy"),
        ({"class": "ActorCriticCnnPolicy"}, "is none of"),
        ({"class": None}, "class"),
        ({"arguments": {"activation_fn": "os.system"}}, "os.system"),
        ({"arguments": {"features_extractor_class": "os.system"}}, "os.system"),
        ({"arguments": {"net_arch": "wide"}}, None),
        ({"arguments": {"net_arch": [60000, 60000]}}, "need more weights than the file has"),
        ({"arguments": {"net_arch": [1] * 10**4}}, "need more weights than the file has"),
        ({"arguments": {"lr_schedule": 1}}, "lr_schedule"),
        ({"action_range": [0.0]}, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_description_can_name_nothing_but_what_is_known(tmp_path, entries, message):
    cls, sees, acts, arguments = _sb3_policies()["actor-critic"]
    policy = cls(sees, acts, lambda _: 1e-3, **arguments)
    save_policy(policy, tmp_path, recognizer_sha256=SHA, arguments=arguments)
    _change(tmp_path, **entries)
    with pytest.raises(CheckpointError, match=message):
        load_policy(tmp_path)


class _OwnPolicy(ActorCriticPolicy):
    pass


@pytest.mark.parametrize("case", ["class", "argument"])
def test_what_files_cannot_name_is_refused_before_anything_is_written(tmp_path, case):
    cls = _OwnPolicy if case == "class" else ActorCriticPolicy
    arguments = {"activation_fn": torch.nn.Hardswish} if case == "argument" else {}
    spaces_ = spaces.Box(0.0, 6.0, (5,), np.float32), spaces.Discrete(4)
    policy = cls(*spaces_, lambda _: 1e-3, **arguments)
    with pytest.raises(ValueError, match=r"cannot name the class _OwnPolicy|are no JSON types"):
        save_policy(policy, tmp_path / "policy", recognizer_sha256=SHA, arguments=arguments)
    assert not (tmp_path / "policy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net_arch": [5]}, r"would be \(4, 64\), and it is \(4, 5\)"),
        ({"activation_fn": torch.nn.ReLU}, "would be Tanh, and it is ReLU"),
    ],
)
def test_a_policy_of_sb3_is_not_written_as_if_it_were_another(tmp_path, arguments, message):
    spaces_ = spaces.Box(0.0, 6.0, (5,), np.float32), spaces.Discrete(4)
    policy = ActorCriticPolicy(*spaces_, lambda _: 1e-3, **arguments)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        save_policy(policy, tmp_path / "policy", recognizer_sha256=SHA)
    assert not (tmp_path / "policy").exists()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_zip_that_cannot_be_read_is_a_checkpoint_error(tmp_path):
    for content in (b"", b"not a zip"):
        (tmp_path / "policy.zip").write_bytes(content)
        with pytest.raises(CheckpointError, match="no usable policy of SB3"):
            load_trusted_zip(tmp_path / "policy.zip")
