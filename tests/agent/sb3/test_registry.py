"""Algorithms and presets by name."""

import copy
import math
from inspect import signature
from itertools import cycle
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.argument_types import ARGUMENTS, POLICY_KWARGS
from agents.sb3.presets import PRESETS
from agents.sb3.registry import (
    _NOT_SETTABLE,
    ALGORITHMS,
    algorithm_arguments,
    algorithm_class,
    policy_class,
)

LOCATIONS = ("continuous", "grid")


@pytest.mark.parametrize(("preset", "locations"), [*zip(PRESETS["gru_ppo"], cycle(LOCATIONS))])
def test_every_preset_makes_an_algorithm(make_adapter, preset, locations):
    policy = PRESETS["gru_ppo"][preset].get("policy_kwargs", {})
    locations = "grid" if policy.get("head") == "spatial" else locations
    small = {"policy_kwargs": {"hidden_dim": 8}}
    model = GruPPO(
        env=make_adapter(2, locations=locations),
        device="cpu",
        **algorithm_arguments("gru_ppo", preset, small),
    )
    model.learn(8)
    assert algorithm_class("gru_ppo") is GruPPO
    assert model.num_timesteps == 8


def test_overrides_go_before_the_preset_and_the_rest_stays():
    plain = algorithm_arguments("gru_ppo", "paper", {})
    changed = algorithm_arguments("gru_ppo", "paper", {"gamma": 0.5, "n_epochs": 3})
    assert changed == {**plain, "gamma": 0.5, "n_epochs": 3}
    plain, before = algorithm_arguments("gru_ppo", "demo", {}), copy.deepcopy(PRESETS)
    changed = algorithm_arguments("gru_ppo", "demo", {"policy_kwargs": {"hidden_dim": 16}})
    assert changed["policy_kwargs"] == {**plain["policy_kwargs"], "hidden_dim": 16}
    assert len(changed["policy_kwargs"]) > 1
    changed["policy_kwargs"]["hidden_dim"] = 1
    assert before == PRESETS


def test_a_linear_schedule_falls_from_its_value_to_0():
    overrides = {"learning_rate": "lin_0.002", "ent_coef": "lin_1e-2", "gamma": 0.5}
    arguments = algorithm_arguments("gru_ppo", "paper", overrides)
    for name, start in {"learning_rate": 0.002, "ent_coef": 0.01}.items():
        values = [arguments[name](left) for left in (1.0, 0.5, 0.0)]
        assert values == pytest.approx([start, start / 2, 0.0])
    assert arguments["gamma"] == 0.5
    for value in ("lin_", "lin_fast", "lin_0,1"):
        with pytest.raises(ValueError, match=r"write lin_0\.001"):
            algorithm_arguments("gru_ppo", "paper", {"learning_rate": value})


def test_steps_can_be_counted_in_episodes_and_classes_named():
    given = {
        "n_steps": "3T",
        "train_freq": [2, "step"],
        "action_noise": 0.5,
        "ent_coef": "auto_0.1",
        "policy": "MlpPolicy",
        "policy_kwargs": {"activation_fn": "gelu", "optimizer_class": "adamw"},
    }
    arguments = algorithm_arguments(
        "custom", None, given, class_path="stable_baselines3.SAC", num_decisions=8
    )
    assert (arguments["n_steps"], arguments["train_freq"]) == (24, (2, "step"))
    assert (arguments["ent_coef"], arguments["policy"]) == ("auto_0.1", "MlpPolicy")
    assert arguments["action_noise"]._sigma.tolist() == [0.5, 0.5]
    policy = arguments["policy_kwargs"]
    assert policy == {"activation_fn": torch.nn.GELU, "optimizer_class": torch.optim.AdamW}


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"gru_ppo"}))
def test_every_algorithm_has_a_configuration_of_its_own_arguments(name):
    file = Path(__file__).parents[3] / "configs" / "algo" / f"{name}.yaml"
    config = OmegaConf.to_container(OmegaConf.load(file).algo, resolve=True)
    assert isinstance(config, dict)
    assert config.pop("name") == name
    assert config.pop("class_path") is None
    arguments = algorithm_arguments(name, None, config, num_decisions=4)
    assert arguments.keys() == config.keys()


def _takes(algorithm):
    """Names that an algorithm and its policies take."""
    policies = [policy_class(algorithm, name) for name in algorithm.policy_aliases]
    bases = {base for cls in policies for base in cls.__mro__}
    kwargs = {name for base in bases for name in signature(base).parameters}
    made = {"observation_space", "action_space", "lr_schedule", "args", "kwargs"}
    return (
        set(signature(algorithm).parameters) - _NOT_SETTABLE.keys(),
        kwargs - made - _NOT_SETTABLE.keys(),
    )


@pytest.mark.parametrize("name", [*ALGORITHMS, "stable_baselines3.SAC", "stable_baselines3.TD3"])
def test_every_argument_of_every_algorithm_has_a_type(name):
    algorithm = algorithm_class(name, None if name in ALGORITHMS else name)
    arguments, kwargs = _takes(algorithm)
    assert arguments - ARGUMENTS.keys() == set()
    assert kwargs - POLICY_KWARGS.keys() == set()


BAD = (-1, -0.5, math.nan, math.inf, "fast", "lin_nan", "lin_-1", "-2T", "", [], {}, [-1])
MAPPINGS = ("policy_kwargs", "rollout_buffer_kwargs", "replay_buffer_kwargs", "patch_grid")
MAPPINGS += ("features_extractor_kwargs", "optimizer_kwargs", "lstm_kwargs")
MEANT = {
    "gradient_steps": [-1],
    "sde_sample_freq": [-1],
    "log_std_init": [-1, -0.5],
    "net_arch": [[], {}],  # no layers
    **{name: [{}] for name in MAPPINGS},
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_argument_can_be_negative_infinite_or_of_another_type(name):
    arguments, kwargs = _takes(algorithm_class(name))
    cases = [(key, {key: value}, value) for key in arguments for value in BAD]
    cases += [(key, {"policy_kwargs": {key: value}}, value) for key in kwargs for value in BAD]
    for key, given, value in cases:
        if value not in MEANT.get(key, ()) and given != {"policy_kwargs": []}:
            with pytest.raises(ValueError, match=rf"{key}=|unknown .*'|policy of|{key}'"):
                algorithm_arguments(name, None, given)


def test_what_policies_hand_on_is_checked_too():
    for kwargs, message in (
        ({"optimizer_kwargs": {"eps": -1.0}}, r"algo\.policy_kwargs\.optimizer_kwargs\.eps=-1\.0"),
        ({"optimizer_kwargs": {"epsilon": 1}}, "entry of policy_kwargs.optimizer_kwargs 'epsilon'"),
        ({"features_extractor_class": "glance_map", "features_extractor_kwargs": {"channels": 0}},
         r"features_extractor_kwargs\.channels=0"),
        ({"features_extractor_kwargs": {"channels": 8}}, "features_extractor_kwargs 'channels'"),
        ({"net_arch": {"pi": [8, -1]}}, "net_arch=.*greater than or equal to 1"),
        ({"net_arch": "foo"}, "net_arch='foo'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            algorithm_arguments("ppo", None, {"policy_kwargs": kwargs})
    for name, value, message in (
        ("gamma", "lin_0.9", "gamma='lin_0.9' cannot fall over training"),
        ("learning_rate", "2T", "learning_rate='2T' is no number"),
        ("rollout_buffer_kwargs", {"foo": 1}, "unknown entry of rollout_buffer_kwargs 'foo'"),
        ("policy_kwargs", {"lstm_kwargs": {"foo": 1}}, "lstm_kwargs"),
        ("batch_size", 1, "batch_size=1: the advantage of one step cannot be normalised"),
        ("n_steps", "0T", "n_steps=0 should be greater than or equal to 1"),
        ("n_steps", 10**9, "n_steps=1000000000 should be less than or equal to 1000000"),
    ):
        with pytest.raises(ValueError, match=message):
            algorithm_arguments("ppo", None, {name: value})


def test_a_batch_of_one_episode_is_more_than_one_step_before_its_length_is_known():
    for length in (1, 8):
        arguments = algorithm_arguments("ppo", None, {"batch_size": "1T"}, num_decisions=length)
        assert arguments["batch_size"] == length


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(ValueError, match="unknown algorithm 'qr_dqn'; did you mean 'qrdqn'"):
        algorithm_class("qr_dqn")
    for name, preset, message in (
        ("gruppo", "paper", "unknown algorithm 'gruppo'; did you mean 'gru_ppo'"),
        ("gru_ppo", "papper", "unknown preset of gru_ppo 'papper'; did you mean 'paper'"),
    ):
        with pytest.raises(ValueError, match=message):
            algorithm_arguments(name, preset, {})
