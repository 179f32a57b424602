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
from train.cli.commands import COMMANDS
from train.cli.overrides import read_overrides
from train.config.builders import recognizer_config
from train.config.commands import ALL_KEYS, CONFIGS, Stage0Config, Stage1Config, Stage2Config
from train.config.compose import Composed, compose_command, read_config
from train.config.keys import ConfigError
from train.config.learning import AlgoConfig
from train.config.sections import LISTS, VideosSection
from train.config.yaml_files import GROUPS, configs_path, options

OPTIONS = sorted(f"{group}={option}" for group in GROUPS for option in options(group))
STAGES = ("stage0", "stage1", "stage2", "stage3")
VIDEOS = ("experiment=videos", "data_dir=x")


def _compose(command, *overrides):
    return compose_command(command, overrides).cfg


def _values(config, names):
    return [getattr(config, name) for name in names.split()]


def test_the_configs_lie_beside_the_package():
    folder = configs_path()
    assert folder == Path(__file__).parents[3] / "configs"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(GROUPS)


def test_commands_and_keys_are_declared_once_and_mean_the_same_everywhere():
    assert list(COMMANDS) == list(CONFIGS)
    assert set(LISTS) == {field.name for field in fields(VideoLists)}
    for experiment in ("experiment=glyphs", "experiment=videos"):
        keys = set(_compose("stage1", experiment, "data_dir=x"))
        assert keys - {"recipes", "command"} == set(ALL_KEYS)
    for name, by_command in ALL_KEYS.items():
        assert all(one.about.help for one in by_command.values()), name
        assert len({(one.types, one.about.is_path) for one in by_command.values()}) == 1, name


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_composes_and_is_read_by_who_uses_it(option):
    cfg = _compose("stage1", option, "data_dir=somewhere", "output_dir=unused")
    commands = [*STAGES, "benchmark"] if option.startswith("experiment=") else ["stage2"]
    for command in list(CONFIGS) if option == "experiment=glyphs" else commands:
        config = Composed(cfg).read(CONFIGS[command], command)
        assert config.command == command
        assert not isinstance(config, VideosSection) or config.data_dir == "somewhere"


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("actnet_patch96", ["experiment=actnet", "patch_size=96"]),
        ("minik_patch128", ["experiment=minik"]),
        ("fcvid_patch192", ["experiment=fcvid", "patch_size=192"]),
        ("sthsth_v1_patch144", ["experiment=sthsth_v1"]),
        ("sthsth_v2_patch176", ["experiment=sthsth_v2", "patch_size=176"]),
    ],
)
def test_the_earlier_names_of_published_experiments_are_words_still(make_config, earlier, now):
    old = make_config("stage1", f"experiment={earlier}", "data_dir=x")
    assert old == make_config("stage1", *now, "data_dir=x")
    assert make_config("flops", f"experiment={earlier}", "patch_size=64").patch_size == 64
    assert read_overrides("flops", [f"experiment={earlier}"], sweep=False)


def test_values_have_their_types(make_config):
    given = ["epochs=3", "backbone_lr=1e-3", "runs={learned: there}"]
    config = make_config("demo", *given)
    kinds = {"epochs": int, "seed": int, "backbone_lr": float, "weight_decay": float}
    kinds |= {"output_dir": Path, "policies": tuple, "ship": bool, "algo": AlgoConfig}
    for name, kind in kinds.items():
        assert isinstance(getattr(config, name), kind), name
    assert (config.backbone_lr, config.grid_size) == (0.001, 7)
    assert config.policies == ("random", "center", "learned", "greedy_oracle")
    assert make_config("benchmark", *given).runs == {"learned": "there"}
    assert make_config("benchmark").resume is None


SIZES = "num_frames frame_size patch_size glance_size hidden_dim glancer focuser"


def test_the_network_sizes_of_the_built_in_and_of_the_published_experiment(make_config):
    config = make_config("stage1")
    assert _values(config, SIZES) == [8, 112, 32, 28, 128, "mobilenet_v2_small", "resnet_small"]
    assert config.glance_resize == "area"
    assert _values(make_config("stage2"), "action_dim reward") == [49, "random"]
    assert _values(make_config("evaluate"), "reward draws") == [None, 1]
    assert _values(make_config("benchmark"), "reward draws") == ["random", 4]
    config = make_config("stage1", *VIDEOS)
    assert _values(config, SIZES) == [16, 224, 128, 224, 1024, "mobilenet_v2", "resnet50"]
    assert _values(config, "dropout momentum weight_decay") == [0.8, 0.9, 1e-4]
    assert _values(config, "dataset crop flip") == ["videos", True, True]


@pytest.mark.parametrize(
    ("command", "epochs", "backbone_lr", "fc_lr"),
    [("stage0", 15, 0.01, 0.005), ("stage1", 50, 0.0005, 0.05), ("stage3", 10, 0.0, 0.005)],
)
def test_the_published_recipe_of_each_stage(make_config, command, epochs, backbone_lr, fc_lr):
    config = make_config(command, *VIDEOS)
    assert _values(config, "epochs batch_size eval_freq") == [epochs, 64, 5]
    assert _values(config, "backbone_lr fc_lr") == [backbone_lr, fc_lr]
    assert _values(config, "optimizer lr_type") == ["sgd", "cos"]
    config = make_config("stage2", *VIDEOS)
    assert _values(config, "epochs batch_size eval_freq") == [50, 64, 5]
    assert config.algo.preset == "paper"


@pytest.mark.parametrize("name", ["sthsth_v1_patch160", "sthsth_v2_patch160"])
def test_the_published_recipes_of_something_something(make_config, name):
    stages = {one: make_config(one, f"experiment={name}", "data_dir=x") for one in STAGES}
    for config in stages.values():
        assert _values(config, "family dataset") == ["temporal_shift", name[:9]]
        assert _values(config, "num_frames num_glance_frames video_div") == [12, 8, 1]
        assert _values(config, "patch_size hidden_dim flip") == [160, None, False]
        assert _values(config, "crops temporal_shift eval_freq") == ["same", True, 1]
    assert [c.epochs for c in stages.values()] == [50, 10, 50, 10]
    assert [c.batch_size for c in stages.values()] == [64, 64, 64, 32]
    stages.pop("stage2")
    assert [c.backbone_lr for c in stages.values()] == [0.01, 1e-5, 0.0]
    assert [c.fc_lr for c in stages.values()] == [0.01, 0.01, 5e-4]
    assert _values(stages["stage0"], "lr_type lr_steps") == ["step", (20, 40)]


def test_commands_that_do_not_train_have_no_recipe_and_ask_for_what_they_need(make_config):
    assert make_config("demo").epochs is None
    assert make_config("benchmark").batch_size is None
    with pytest.raises(ConfigError, match=r"demo needs epochs=\.\.\."):
        make_config("demo").need("epochs")
    assert make_config("stage1", "epochs=3").need("epochs") == 3


def test_a_configuration_can_be_read_as_another_command_and_overrides_go_first():
    composed = compose_command("demo", ["output_dir=x", "recipes.stage1.epochs=3"])
    before = OmegaConf.to_yaml(composed.cfg, resolve=False)
    stage0 = composed.read(Stage0Config, "stage0")
    stage1 = composed.read(Stage1Config, "stage1", data_dir="there")
    assert (stage0.command, stage1.command) == ("stage0", "stage1")
    assert stage0.epochs == composed.cfg.recipes.stage0.epochs
    assert (stage1.epochs, stage1.data_dir) == (3, "there")
    assert read_config(composed.cfg).epochs is None
    assert OmegaConf.to_yaml(composed.cfg, resolve=False) == before
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


def test_dqn_sees_maps_where_the_experiment_says_that_they_are_small(make_config):
    small = make_config("stage2", "algo=dqn")
    assert (small.observation, small.algo.arguments["buffer_size"]) == ("map", 20000)
    full = make_config("stage2", "algo=dqn", "experiment=actnet_patch128", "data_dir=x")
    assert (full.observation, full.algo.arguments["buffer_size"]) == ("vector", 50000)
    assert make_config("stage2", "algo=dqn", "observation=vector").observation == "vector"


def test_arguments_that_are_not_given_are_left_to_the_preset(make_config):
    algo = make_config("stage2").algo
    assert (algo.name, algo.preset) == ("gru_ppo", "demo")
    assert {key: value for key, value in algo.arguments.items() if value} == {}
    algo = make_config("stage2", "algo.gamma=0.5", "algo.preset=paper").algo
    assert (algo.preset, algo.arguments["gamma"]) == ("paper", 0.5)


def test_the_algorithms_keys_are_grus_arguments_and_the_policys_can_be_set_as_well(make_config):
    by_the_run = "self policy env seed device verbose tensorboard_log stats_window_size"
    left_out = {*by_the_run.split(), "process_group", "_init_setup_model"}
    expected = set(inspect.signature(GruPPO.__init__).parameters) - left_out
    assert set(_compose("stage2").algo) - {"name", "preset", "class_path"} == expected
    names = ("hidden_dim", "channels", "detach_value", "standardize", "batch_norm", "action_std")
    assert set(names) <= set(inspect.signature(GruActorCriticPolicy.__init__).parameters)
    config = make_config("stage2", *(f"algo.policy_kwargs.{name}=1" for name in names))
    assert config.algo.arguments["policy_kwargs"].items() >= dict.fromkeys(names, 1).items()


@pytest.mark.parametrize(
    ("command", "override", "message"),
    [
        ("stage1", "epoch=3", "unknown configuration key 'epoch'; did you mean epochs="),
        ("stage1", "batchsize=3", "did you mean batch_size="),
        ("stage1", "+learning_rat=1", "unknown configuration key 'learning_rat'"),
        ("stage1", "++sed=1", "did you mean seed="),
        ("stage1", "~epoch=1", "did you mean epochs="),
        ("stage1", "qqqq=1", "COMMAND --help lists the keys"),
        ("stage1", "experimnt=glyphs", "did you mean experiment="),
        ("stage1", "command=stage2", "unknown configuration key 'command'"),
        ("stage1", "epochs", "expected key=value, got 'epochs'"),
        ("stage1", "gpus=2", "a word of the published code; use device=cuda:N"),
        ("flops", "trials=30", "flops does not use trials= (tune does); adafocus flops --help"),
        ("evaluate", "policies=[random]", "(demo, benchmark and record do); did you mean policy=?"),
        ("stage3", "algo.gamma=0", "stage3 does not use algo= (demo, flops, stage2 and tune do)"),
        ("evaluate", "algo=ppo", "evaluate does not use algo="),
        ("make-videos", "experiment=glyphs", "make-videos does not use experiment="),
        ("stage1", "features=bank:x", "stage1 does not use features= (stage2, tune, evaluate, be"),
    ],
)
def test_an_unknown_key_and_one_that_the_command_does_not_use_are_refused(
    command, override, message
):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_overrides(command, [override], sweep=False)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("epochs=3", "epochs=3"),
        ("algo.gamma=0.5", "++algo.gamma=0.5"),
        ("+algo.new=1", "+algo.new=1"),
        ("policy_lr=1", "++algo.learning_rate=1"),
        ("gamma=0.5", "++algo.gamma=0.5"),
        ("hidden_state_dim=8", "++algo.policy_kwargs.hidden_dim=8"),
        ("workers=2", "num_workers=2"),
        ("num_segments=8", "num_frames=8"),
        ("recipes.stage1.epochs=3", "recipes.stage1.epochs=3"),
        ("hydra/job_logging=disabled", "hydra/job_logging=disabled"),
        ("dataset@here=glyphs", "dataset@here=glyphs"),
    ],
)
def test_known_keys_and_hydras_own_are_left_to_hydra(override, read):
    assert read_overrides("stage2", [override], sweep=False) == [read]


@pytest.mark.parametrize(
    "path",
    ["a b/[1]", "a=b", "it's (new)", "{x}", "a,b", "2024", "~/runs", "j\u00fcrgen/\\x", '"', "a'"],
)
def test_paths_need_no_quotes_whatever_they_are_called(make_config, path):
    given = read_overrides("stage2", [f"resume={path}", f"features=bank:{path}"], sweep=False)
    config = make_config("stage2", *given)
    assert (config.resume, config.features) == (path, f"bank:{path}")


def test_paths_of_a_sweep_are_separated_by_commas():
    given = ["resume=runs/a (1),runs/b", "policy=glob(*)", "output_dir='a,b'"]
    read = ["resume='runs/a (1)',runs/b", "policy=glob(*)", "output_dir='a,b'"]
    assert read_overrides("stage2", given, sweep=True)[:2] == read[:2]
    assert read_overrides("stage2", given[2:], sweep=False) == read[2:]


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("policies=[a:runs/x (1),random]", "\"policies=['a:runs/x (1)',random]\""),
        ("runs={learned: a=b}", "\"runs={learned: 'a=b'}\""),
        ("reward=a=b", "\"reward='a=b'\""),
    ],
)
def test_what_cannot_be_read_is_shown_with_quotes_that_help(override, quoted):
    with pytest.raises(ConfigError) as error:
        read_overrides("benchmark", [override], sweep=False)
    assert str(error.value).startswith(f"{override} cannot be read: ")
    assert str(error.value).endswith(quoted)
    assert read_overrides("benchmark", [quoted.strip('"')], sweep=False) == [quoted.strip('"')]


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        # Out of range, or no word that it may be.
        ("stage1", "epochs=0", "epochs=0 must be at least 1"),
        ("stage1", "batch_size=-3", "batch_size=-3 must be at least 1"),
        ("stage1", "eval_freq=0", "eval_freq"),
        ("stage0", "glancer_frames=0", "glancer_frames"),
        ("stage0", "focuser_frames=0", "focuser_frames"),
        ("stage2", "policy_frames=0", "policy_frames"),
        ("evaluate", "draws=0", "draws"),
        ("stage1", "num_frames=0", "num_frames"),
        ("stage1", "num_workers=-1", "num_workers"),
        ("stage1", "seed=-1", "seed"),
        ("stage1", "optimizer=adam", "optimizer=adam is unknown; known are adamw, sgd"),
        ("stage1", "lr_type=linear", "known are onecycle, cos, step"),
        ("evaluate", "split=all", "known are train, val, test"),
        ("stage2", "action_dim=50", "action_dim=50 is no square"),
        ("stage2", "action_dim=-49", "action_dim"),
        # Of the wrong type.
        ("stage1", "epochs=many", "epochs"),
        ("stage1", "epochs=1.5", "epochs"),
        ("stage1", "batch_size=[1]", "batch_size"),
        ("tune", "seed=one", "seed"),
        ("record", "action_dim=seven", "action_dim"),
        ("stage1", "backbone_lr=fast", "backbone_lr"),
        ("stage0", "pretrain_glancer=maybe", "pretrain_glancer"),
        ("stage1", "crop=7", "crop"),
        ("record", "policies=random", "policies"),
        ("record", "runs=7", "runs"),
        ("stage1", "lists={list:x.txt}", "lists"),
        # Unknown, missing, or not of this experiment.
        ("stage1", "+epoch=3", "unknown configuration key 'epoch'; did you mean epochs"),
        ("stage1", "experiment=videos", "data_dir"),
        ("stage2", "dataset=actnet data_dir=x resume=shipped", "no recognizer for dataset=actnet"),
        ("stage1", "video_div=2", "video_div=2 is for family=temporal_shift, and the networks are"),
        ("stage1", "family=temporal_shift", "hidden_dim=128 is for family=recurrent"),
        ("stage1", "family=temporal_shift hidden_dim=null", "needs num_glance_frames=...; model="),
        ("stage1", "hidden_dim=null", "family=recurrent needs hidden_dim=..."),
        ("stage1", "family=tsm", "family=tsm is unknown; known are recurrent, temporal_shift"),
        ("stage1", "crops=two", "crops=two is unknown; known are same, independent"),
        ("stage1", "experiment=sthsth_v1 data_dir=x video_div=3",
         "video_div=3 does not divide num_glance_frames=8"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_what_is_possible(
    make_config, command, given, message
):
    with pytest.raises(ConfigError, match=re.escape(message)):
        recognizer_config(make_config(command, *given.split()), ("a", "b"))
