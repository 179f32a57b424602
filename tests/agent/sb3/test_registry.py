"""Algorithms and presets by name."""

import copy
from itertools import cycle
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.registry import ALGORITHMS, PRESETS, algorithm_arguments, algorithm_class

LOCATIONS = ("continuous", "grid")


@pytest.mark.parametrize(("preset", "locations"), [*zip(PRESETS["gru_ppo"], cycle(LOCATIONS))])
def test_every_preset_makes_an_algorithm(make_adapter, preset, locations):
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


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(ValueError, match="unknown algorithm 'qr_dqn'; did you mean 'qrdqn'"):
        algorithm_class("qr_dqn")
    for name, preset, message in (
        ("gruppo", "paper", "unknown algorithm 'gruppo'; did you mean 'gru_ppo'"),
        ("gru_ppo", "papper", "unknown preset of gru_ppo 'papper'; did you mean 'paper'"),
    ):
        with pytest.raises(ValueError, match=message):
            algorithm_arguments(name, preset, {})
