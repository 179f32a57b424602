"""Configuration: every YAML composes, recipes follow the command, mistakes are named."""

import inspect
import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from adafocus_env.data import VideoLists
from adafocus_env.shipped import shipped_recognizer
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from train.cli.overrides import read_overrides
from train.config.builders import recognizer_config
from train.config.commands import ALL_KEYS, COMMANDS, Stage0Config, Stage1Config, Stage2Config
from train.config.compose import Composed, compose_command, read_config
from train.config.keys import ConfigError
from train.config.learning import AlgoConfig
from train.config.sections import LISTS, VideosSection
from train.config.yaml_files import GROUPS, configs_path, options

OPTIONS = sorted(f"{group}={option}" for group in GROUPS for option in options(group))


@pytest.fixture(scope="session")
def compose_config():
    """Composes `configs/` for a command with overrides, as the command line does."""
    return lambda command, *overrides: compose_command(command, overrides).cfg


def test_the_configs_lie_beside_the_package():
    folder = configs_path()
    assert folder == Path(__file__).parents[3] / "configs"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(GROUPS)


def test_every_key_of_the_files_is_declared_and_every_declared_key_is_there(compose_config):
    for experiment in ("glyphs", "videos"):
        keys = set(compose_config("stage1", f"experiment={experiment}", "data_dir=x"))
        assert keys - {"recipes", "command"} == set(ALL_KEYS)


def test_every_key_says_what_it_is_and_means_the_same_everywhere():
    for name, by_command in ALL_KEYS.items():
        assert all(one.help for one in by_command.values()), name
        # The share of make-lists is called as the splits that it makes.
        others = [one for who, one in by_command.items() if (name, who) != ("split", "make-lists")]
        assert len({(one.types, one.is_path) for one in others}) == 1, name


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_composes_and_is_read_by_who_uses_it(compose_config, option):
    cfg = compose_config("stage1", option, "data_dir=somewhere", "output_dir=unused")
    stages = ["stage0", "stage1", "stage2", "stage3"]
    commands = [*stages, "benchmark"] if option.startswith("experiment=") else ["stage2"]
    for command in list(COMMANDS) if option == "experiment=glyphs" else commands:
        config = Composed(cfg).read(COMMANDS[command].config, command)
        assert config.command == command
        if isinstance(config, VideosSection):
            assert config.data_dir == "somewhere"


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("actnet_patch96", ["actnet", "patch_size=96"]),
        ("minik_patch128", ["minik"]),
        ("fcvid_patch192", ["fcvid", "patch_size=192"]),
        ("sthsth_v1_patch144", ["sthsth_v1"]),
        ("sthsth_v2_patch176", ["sthsth_v2", "patch_size=176"]),
    ],
)
def test_the_earlier_names_of_published_experiments_are_words_still(make_config, earlier, now):
    name, *sizes = now
    given = [f"experiment={name}", *sizes, "data_dir=x"]
    old = make_config("stage1", f"experiment={earlier}", "data_dir=x")
    assert old == make_config("stage1", *given)
    assert make_config("flops", f"experiment={earlier}", "patch_size=64").patch_size == 64
    assert read_overrides("flops", [f"experiment={earlier}"], sweep=False)


def test_values_have_their_types(make_config):
    stage1 = make_config("stage1", "epochs=3", "backbone_lr=1e-3")
    kinds = {"epochs": int, "seed": int, "backbone_lr": float, "weight_decay": float}
    for name, kind in {**kinds, "output_dir": Path, "lr_steps": tuple, "flip": bool}.items():
        assert isinstance(getattr(stage1, name), kind), name
    assert stage1.backbone_lr == 0.001
    stage2 = make_config("stage2")
    assert isinstance(stage2.algo, AlgoConfig)
    assert stage2.grid_size == 7
    benchmark = make_config("benchmark", "runs={learned: there}")
    assert benchmark.policies == ("random", "center", "learned", "greedy_oracle")
    assert (benchmark.runs, benchmark.resume) == ({"learned": "there"}, None)


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
        (
            ["experiment=sthsth_v1", "data_dir=x", "video_div=3"],
            "video_div=3 does not divide num_glance_frames=8",
        ),
    ],
    ids=str,
)
def test_sizes_of_the_other_family_are_refused(make_config, overrides, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        recognizer_config(make_config("stage1", *overrides), ("a", "b"))


def test_a_configuration_can_be_read_as_another_command_and_overrides_go_first():
    composed = compose_command("demo", ["output_dir=x", "recipes.stage1.epochs=3"])
    stage0 = composed.read(Stage0Config, "stage0")
    stage1 = composed.read(Stage1Config, "stage1", data_dir="there")
    assert (stage0.command, stage1.command) == ("stage0", "stage1")
    assert stage0.epochs == composed.cfg.recipes.stage0.epochs
    assert (stage1.epochs, stage1.data_dir) == (3, "there")
    assert (composed.cfg.command, composed.cfg.data_dir) == ("demo", None)
    composed = compose_command("demo", ["output_dir=x", "epochs=2"])
    kinds = (Stage0Config, Stage1Config, Stage2Config)
    assert [composed.read(one, f"stage{i}").epochs for i, one in enumerate(kinds)] == [2, 2, 2]


def test_a_search_is_narrowed_to_a_run_of_stage2(make_config):
    search = make_config("tune", "trials=3", "epochs=2")
    run = search.narrowed(Stage2Config, command="stage2")
    assert (type(run), run.command, run.epochs) == (Stage2Config, "stage2", 2)
    assert set(search.plain()) - set(run.plain()) == {"trials", "search", "pruner"}


def test_shipped_is_the_recognizer_that_comes_with_the_package(make_config):
    config = make_config("stage2", "resume=shipped")
    assert config.source_run == str(shipped_recognizer("glyphs"))
    assert (Path(config.source_run) / "recognizer.json").is_file()
    continued = make_config("stage2", "resume=auto", "recognizer=shipped")
    assert continued.source_run == config.source_run
    with pytest.raises(ConfigError, match="no recognizer for dataset=actnet comes with"):
        make_config("stage2", "dataset=actnet", "data_dir=x", "resume=shipped")


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


def test_a_key_that_is_no_field_and_one_that_must_be_given_are_named(compose_config):
    cfg = compose_config("stage1", "output_dir=x", "+epoch=3")
    with pytest.raises(ConfigError, match="unknown configuration key 'epoch'; did you mean epochs"):
        read_config(cfg)
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
        ("optimizer=adam", "optimizer=adam is unknown; known are adamw, sgd"),
        ("lr_type=linear", "known are onecycle, cos, step"),
        ("split=all", "known are train, val, test"),
        ("action_dim=50", "action_dim=50 is no square"),
        ("action_dim=-49", "action_dim=-49 must be 16 to 100"),
        ("momentum=1", "momentum=1 must be 0 or more and below 1"),
        ("momentum=-0.1", "momentum"),
        ("weight_decay=-1e-4", "weight_decay=-0.0001 must be 0 or more"),
        ("max_grad_norm=0", "max_grad_norm=0 must be above 0"),
        ("fc_lr=nan", "fc_lr=nan must be a number, 0 or more"),
        ("dropout=1.5", "dropout"),
        ("lr_steps=[10,0]", r"lr_steps=\(10, 0\) must be at least 1"),
        ("frame_rate=100000", "frame_rate=100000 must be 0.001 to 1000"),
        ("fps=1e9", "fps"),
        ("num_frames=1000000000", "num_frames=1000000000 must be 1 to 4096"),
        ("num_workers=100000", "num_workers=100000 must be 0 to "),
        ("batch_size=10000000", "batch_size=10000000 must be at most 1000000"),
        ("seed=4294967296", "seed=4294967296 must be 0 to 4294967295"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_possible(make_config, override, message):
    with pytest.raises(ConfigError, match=message):
        make_config([*ALL_KEYS[override.split("=")[0]]][-1], override)


def test_every_number_is_finite_and_has_a_lowest_and_a_highest_value():
    numbers = [
        (command, one)
        for by_command in ALL_KEYS.values()
        for command, one in by_command.items()
        if {int, float, tuple[int, ...]} & set(one.types)
    ]
    assert len(numbers) > 100
    for _, one in numbers:
        wrong = [math.nan, math.inf, -1]
        wrong += [10**10, 10**400] if float not in one.types else []
        for value in wrong:
            with pytest.raises(ConfigError, match=one.name):
                one.check(value)
            if tuple[int, ...] in one.types:
                with pytest.raises(ConfigError, match=one.name):
                    one.check((1, value))


@pytest.mark.parametrize(
    "override",
    [
        *("epochs=many", "epochs=1.5", "batch_size=[1]", "seed=one", "action_dim=seven"),
        *("backbone_lr=fast", "pretrain_glancer=maybe", "crop=7", "policies=random", "runs=7"),
        "lists={list: x.txt}",
    ],
)
def test_a_value_of_the_wrong_type_is_named(make_config, override):
    name = override.split("=")[0]
    with pytest.raises(ConfigError, match=name):
        make_config([*ALL_KEYS[name]][-1], override)


@pytest.mark.parametrize(
    ("trains", "given", "message"),
    [
        ("true", "focuser", "pretrain_glancer=true trains the glancer, and pretrained_focuser="
         "a.pth is for pretrain_glancer=false; set that, or name pretrained_glancer= instead"),
        ("false", "glancer", "pretrain_glancer=false trains the focuser, and pretrained_glancer="
         "a.pth is for pretrain_glancer=true; set that, or name pretrained_focuser= instead"),
    ],
)  # fmt: skip
def test_weights_of_the_network_that_stage_0_does_not_train_are_refused(
    make_config, trains, given, message
):
    with pytest.raises(ConfigError) as error:
        make_config("stage0", f"pretrain_glancer={trains}", f"pretrained_{given}=a.pth")
    assert str(error.value) == message


@pytest.mark.parametrize("trains", ["true", "false"])
def test_an_experiment_may_name_weights_of_both_networks(make_config, trains):
    given = ["experiment=small", "data_dir=x", "backbone_lr=0.01", "pretrained_glancer=a.pth"]
    config = make_config("stage0", *given, f"pretrain_glancer={trains}")
    assert config.pretrained == "a.pth"
    assert config.trained == ("glancer" if trains == "true" else "focuser")
    assert make_config("stage0", "pretrain_glancer=true").pretrained is None


def test_reading_leaves_the_configuration_as_it_was(compose_config):
    cfg = compose_config("stage1", "output_dir=x")
    before = OmegaConf.to_yaml(cfg, resolve=False)
    Composed(cfg).read(Stage1Config, "stage3", data_dir="x")
    assert OmegaConf.to_yaml(cfg, resolve=False) == before


def test_the_keys_of_lists_are_the_fields_of_video_lists():
    assert set(LISTS) == {field.name for field in fields(VideoLists)}
