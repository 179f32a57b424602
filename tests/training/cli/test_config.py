"""Configuration: every YAML composes, recipes follow the command, mistakes are named."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from adafocus_env.data import VideoLists
from adafocus_env.shipped import shipped_recognizer
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from train.cli.main import COMMANDS
from train.cli.overrides import check_override_names
from train.config.paths import configs_path
from train.config.sections import GROUPS, LISTS, AlgoConfig, ConfigError, RunConfig, read_config
from train.runs.context import recognizer_config

OPTIONS = sorted(
    f"{file.parent.name}={file.stem}"
    for group in GROUPS
    for file in (configs_path() / group).iterdir()
)


def test_the_configs_lie_beside_the_package():
    folder = configs_path()
    assert folder == Path(__file__).parents[3] / "configs"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(GROUPS)


def test_every_key_of_the_configs_is_a_field_and_every_field_a_key(compose_config):
    for experiment in ("glyphs", "videos"):
        keys = set(compose_config("stage1", f"experiment={experiment}", "data_dir=x"))
        assert keys - {"recipes"} == {field.name for field in fields(RunConfig)}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_composes_and_is_read_for_every_command(compose_config, option):
    cfg = compose_config("stage1", option, "data_dir=somewhere", "output_dir=unused")
    for command in COMMANDS:
        config = read_config(cfg, command=command)
        assert (config.command, config.data_dir) == (command, "somewhere")


def test_values_have_their_types(make_config):
    config = make_config("stage1", "epochs=3", "backbone_lr=1e-3", "runs={learned: there}")
    for name, kind in {
        "epochs": int,
        "seed": int,
        "backbone_lr": float,
        "weight_decay": float,
        "output_dir": Path,
        "policies": tuple,
        "pretrain_glancer": bool,
        "algo": AlgoConfig,
    }.items():
        assert isinstance(getattr(config, name), kind), name
    assert config.backbone_lr == 0.001
    assert config.policies == ("random", "center", "learned", "greedy_oracle")
    assert config.runs == {"learned": "there"}
    assert config.resume is None
    assert config.grid_size == 7


def test_the_network_sizes_of_the_built_in_task(make_config):
    config = make_config("stage1")
    assert (config.num_frames, config.frame_size, config.patch_size) == (8, 112, 32)
    assert (config.glance_size, config.glance_resize) == (28, "area")
    assert (config.glancer, config.focuser) == ("mobilenet_v2_small", "resnet_small")
    assert (config.hidden_dim, config.action_dim, config.reward) == (128, 49, "random")


def test_the_published_experiment_has_the_published_sizes(make_config):
    config = make_config("stage1", "experiment=videos", "data_dir=x")
    assert (config.num_frames, config.frame_size, config.patch_size) == (16, 224, 128)
    assert (config.glance_size, config.hidden_dim, config.dropout) == (224, 1024, 0.8)
    assert (config.glancer, config.focuser) == ("mobilenet_v2", "resnet50")
    assert (config.momentum, config.weight_decay) == (0.9, 1e-4)
    assert config.algo.preset == "paper"
    assert (config.dataset, config.crop, config.flip) == ("videos", True, True)


@pytest.mark.parametrize(
    ("command", "epochs", "backbone_lr", "fc_lr"),
    [
        ("stage0", 15, 0.01, 0.005),
        ("stage1", 50, 0.0005, 0.05),
        ("stage2", 50, None, None),
        ("stage3", 10, 0.0, 0.005),
    ],
)
def test_the_published_recipe_of_each_stage(make_config, command, epochs, backbone_lr, fc_lr):
    config = make_config(command, "experiment=videos", "data_dir=x")
    assert (config.epochs, config.batch_size, config.eval_freq) == (epochs, 64, 5)
    assert (config.backbone_lr, config.fc_lr) == (backbone_lr, fc_lr)
    supervised = command != "stage2"
    assert config.optimizer == ("sgd" if supervised else None)
    assert config.lr_type == ("cos" if supervised else None)


@pytest.mark.parametrize("name", ["sthsth_v1_patch160", "sthsth_v2_patch160"])
def test_the_published_recipes_of_something_something(make_config, name):
    stages = {
        stage: make_config(stage, f"experiment={name}", "data_dir=x")
        for stage in ("stage0", "stage1", "stage2", "stage3")
    }
    for config in stages.values():
        assert (config.family, config.dataset) == ("temporal_shift", name[:9])
        assert (config.num_frames, config.num_glance_frames, config.video_div) == (12, 8, 1)
        assert (config.patch_size, config.hidden_dim, config.flip) == (160, None, False)
        assert (config.crops, config.temporal_shift, config.eval_freq) == ("same", True, 1)
    assert [c.epochs for c in stages.values()] == [50, 10, 50, 10]
    assert [c.batch_size for c in stages.values()] == [64, 64, 64, 32]
    assert [c.backbone_lr for c in stages.values()] == [0.01, 1e-5, None, 0.0]
    assert [c.fc_lr for c in stages.values()] == [0.01, 0.01, None, 5e-4]
    assert (stages["stage0"].lr_type, stages["stage0"].lr_steps) == ("step", (20, 40))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["video_div=2"], "video_div=2 is for family=temporal_shift, and the networks are of"),
        (["family=temporal_shift"], "hidden_dim=128 is for family=recurrent"),
        (
            ["family=temporal_shift", "hidden_dim=null"],
            "family=temporal_shift needs num_glance_frames=...; model= sets it",
        ),
        (["hidden_dim=null"], "family=recurrent needs hidden_dim=..."),
        (["family=tsm"], "family=tsm is unknown; known are recurrent, temporal_shift"),
        (["crops=two"], "crops=two is unknown; known are same, independent"),
    ],
    ids=str,
)
def test_sizes_of_the_other_family_are_refused(make_config, overrides, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_config("stage1", *overrides)


def test_frames_that_cannot_be_divided_are_a_configuration_error(make_config):
    config = make_config("flops", "experiment=sthsth_v1_patch144", "video_div=3")
    with pytest.raises(ConfigError, match="video_div=3 does not divide num_glance_frames=8"):
        recognizer_config(config, ("a", "b"))


def test_commands_that_do_not_train_have_no_recipe(make_config):
    for command in ("evaluate", "benchmark", "demo", "make-videos"):
        assert make_config(command).epochs is None


def test_a_configuration_can_be_read_as_another_command(compose_config):
    cfg = compose_config("demo", "output_dir=x", "recipes.stage1.epochs=3")
    as_stage0, as_stage1 = (read_config(cfg, command=name) for name in ("stage0", "stage1"))
    assert (as_stage0.command, as_stage1.command) == ("stage0", "stage1")
    assert as_stage0.epochs == cfg.recipes.stage0.epochs
    assert as_stage1.epochs == 3
    assert read_config(cfg).epochs is None
    assert cfg.command == "demo"


def test_an_override_goes_before_every_recipe(compose_config):
    cfg = compose_config("demo", "output_dir=x", "epochs=2")
    assert [read_config(cfg, command=f"stage{i}").epochs for i in range(4)] == [2, 2, 2, 2]


def test_shipped_is_the_recognizer_that_comes_with_the_package(make_config):
    config = make_config("stage2", "resume=shipped")
    assert config.source_run == str(shipped_recognizer("glyphs"))
    assert (Path(config.source_run) / "recognizer.json").is_file()
    continued = make_config("stage2", "resume=auto", "recognizer=shipped")
    assert continued.source_run == config.source_run
    with pytest.raises(ConfigError, match="no recognizer for dataset=actnet comes with"):
        make_config("stage2", "dataset=actnet", "data_dir=x", "resume=shipped")


def test_dqn_sees_maps_where_the_experiment_says_that_they_are_small(make_config):
    small = make_config("stage2", "algo=dqn")
    assert (small.observation, small.algo.arguments["buffer_size"]) == ("map", 20000)
    full = make_config("stage2", "algo=dqn", "experiment=actnet_patch128", "data_dir=x")
    assert (full.observation, full.algo.arguments["buffer_size"]) == ("vector", 50000)
    assert make_config("stage2", "algo=dqn", "observation=vector").observation == "vector"


def test_a_value_that_a_command_needs_is_asked_for_by_name(make_config):
    config = make_config("evaluate")
    with pytest.raises(ConfigError, match=r"evaluate needs epochs=\.\.\."):
        config.need("epochs")
    assert make_config("stage1", "epochs=3").need("epochs") == 3


# --- the algorithm ---


def test_arguments_that_are_not_given_are_left_to_the_preset(make_config):
    algo = make_config("stage2").algo
    assert (algo.name, algo.preset) == ("gru_ppo", "demo")
    assert {key: value for key, value in algo.arguments.items() if value} == {}
    algo = make_config("stage2", "algo.gamma=0.5", "algo.preset=paper").algo
    assert (algo.preset, algo.arguments["gamma"]) == ("paper", 0.5)


def _arguments(function, without):
    return set(inspect.signature(function).parameters) - set(without.split())


def test_the_algorithms_keys_are_grus_arguments(compose_config):
    by_the_run = (
        "self policy env seed device verbose tensorboard_log stats_window_size process_group"
    )
    expected = _arguments(GruPPO.__init__, f"{by_the_run} _init_setup_model")
    assert set(compose_config("stage2").algo) - {"name", "preset", "class_path"} == expected


@pytest.mark.parametrize(
    "name", ["hidden_dim", "channels", "detach_value", "standardize", "batch_norm", "action_std"]
)
def test_the_policys_arguments_can_be_set_as_any_other_key(make_config, name):
    assert name in _arguments(GruActorCriticPolicy.__init__, "self")
    config = make_config("stage2", f"algo.policy_kwargs.{name}=1")
    assert config.algo.arguments["policy_kwargs"][name] == 1


# --- mistakes ---


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "unknown configuration key 'epoch'; did you mean epochs="),
        ("batchsize=3", "did you mean batch_size="),
        ("+learning_rat=1", "unknown configuration key 'learning_rat'"),
        ("++sed=1", "did you mean seed="),
        ("+note=1", "unknown configuration key 'note'"),
        ("~epoch=1", "did you mean epochs="),
        ("qqqq=1", "see configs/config.yaml"),
        ("experimnt=glyphs", "did you mean experiment="),
        ("epochs", "expected key=value, got 'epochs'"),
        ("epochs 3", "expected key=value"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(override, message):
    with pytest.raises(ConfigError, match=message):
        check_override_names([override])


@pytest.mark.parametrize(
    "override",
    [
        "epochs=3",
        "experiment=videos",
        "algo.gamma=0.5",
        "+algo.new=1",
        "recipes.stage1.epochs=3",
        "hydra.verbose=true",
        "hydra/job_logging=disabled",
        "--multirun",
        "--cfg=job",
        "dataset@here=glyphs",
    ],
)
def test_known_keys_and_hydras_own_are_left_to_hydra(override):
    check_override_names([override])


def test_a_key_that_is_no_field_is_refused_when_read(compose_config):
    cfg = compose_config("stage1", "output_dir=x", "+epoch=3")
    with pytest.raises(ConfigError, match="unknown configuration key 'epoch'; did you mean epochs"):
        read_config(cfg)


def test_a_value_that_must_be_given_is_named(compose_config):
    with pytest.raises(ConfigError, match="data_dir"):
        read_config(compose_config("stage1", "experiment=videos", "output_dir=x"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=0", "epochs=0 must be at least 1"),
        ("batch_size=-3", "batch_size=-3 must be at least 1"),
        ("eval_freq=0", "eval_freq"),
        ("glancer_frames=0", "glancer_frames"),
        ("focuser_frames=0", "focuser_frames"),
        ("policy_frames=0", "policy_frames"),
        ("draws=0", "draws"),
        ("num_frames=0", "num_frames"),
        ("num_workers=-1", "num_workers"),
        ("seed=-1", "seed"),
        ("optimizer=adam", "optimizer=adam is unknown; known are adamw, sgd"),
        ("lr_type=linear", "known are onecycle, cos, step"),
        ("split=all", "known are train, val, test"),
        ("action_dim=50", "action_dim=50 is no square"),
        ("action_dim=-49", "action_dim"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_possible(make_config, override, message):
    with pytest.raises(ConfigError, match=message):
        make_config("stage1", override)


@pytest.mark.parametrize(
    "override",
    [
        "epochs=many",
        "epochs=1.5",
        "batch_size=[1]",
        "seed=one",
        "action_dim=seven",
        "backbone_lr=fast",
        "pretrain_glancer=maybe",
        "crop=7",
        "policies=random",
        "runs=7",
        "lists={list: x.txt}",
    ],
)
def test_a_value_of_the_wrong_type_is_named(make_config, override):
    with pytest.raises(ConfigError, match=override.split("=")[0]):
        make_config("stage1", override)


def test_reading_leaves_the_configuration_as_it_was(compose_config):
    cfg = compose_config("stage1", "output_dir=x")
    before = OmegaConf.to_yaml(cfg, resolve=False)
    read_config(cfg, command="stage3")
    assert OmegaConf.to_yaml(cfg, resolve=False) == before


def test_the_keys_of_lists_are_the_fields_of_video_lists():
    assert set(LISTS) == {field.name for field in fields(VideoLists)}
