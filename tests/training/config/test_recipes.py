"""The experiments and recipes of `configs/`: sizes, and what each command trains with."""

import pytest

from train.config.keys import ConfigError


def test_the_network_sizes_of_the_built_in_and_of_the_published_experiment(make_config):
    config = make_config("stage1")
    assert (config.num_frames, config.frame_size, config.patch_size) == (8, 112, 32)
    assert (config.glance_size, config.glance_resize) == (28, "area")
    assert (config.glancer, config.focuser) == ("mobilenet_v2_small", "resnet_small")
    assert config.hidden_dim == 128
    assert (make_config("stage2").action_dim, make_config("stage2").reward) == (49, "random")
    assert (make_config("evaluate").reward, make_config("evaluate").draws) == (None, 1)
    assert (make_config("benchmark").reward, make_config("benchmark").draws) == ("random", 4)
    config = make_config("stage1", "experiment=videos", "data_dir=x")
    assert (config.num_frames, config.frame_size, config.patch_size) == (16, 224, 128)
    assert (config.glance_size, config.hidden_dim, config.dropout) == (224, 1024, 0.8)
    assert (config.glancer, config.focuser) == ("mobilenet_v2", "resnet50")
    assert (config.momentum, config.weight_decay) == (0.9, 1e-4)
    assert (config.dataset, config.crop, config.flip) == ("videos", True, True)


@pytest.mark.parametrize(
    ("command", "epochs", "rates"),
    [
        ("stage0", 15, {"backbone_lr": 0.01}),
        ("stage1", 50, {"backbone_lr": 0.0005, "fc_lr": 0.05}),
        ("stage3", 10, {"fc_lr": 0.005}),
    ],
)
def test_the_published_recipe_of_each_supervised_stage(make_config, command, epochs, rates):
    config = make_config(command, "experiment=videos", "data_dir=x")
    assert (config.epochs, config.batch_size, config.eval_freq) == (epochs, 64, 5)
    assert {name: getattr(config, name) for name in rates} == rates
    assert (config.optimizer, config.lr_type) == ("sgd", "cos")


def test_the_published_recipe_of_the_policy(make_config):
    config = make_config("stage2", "experiment=videos", "data_dir=x")
    assert (config.epochs, config.batch_size, config.eval_freq) == (50, 64, 5)
    assert config.algo.preset == "paper"


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
    assert [stages[name].backbone_lr for name in ("stage0", "stage1")] == [0.01, 1e-5]
    assert [stages[name].fc_lr for name in ("stage1", "stage3")] == [0.01, 5e-4]
    assert (stages["stage0"].lr_type, stages["stage0"].lr_steps) == ("step", (20, 40))


def test_on_a_bank_the_recipe_for_it_goes_first(make_config):
    live, on_bank = (
        make_config("stage1", "experiment=glyphs", *features)
        for features in ((), ("features=bank:b",))
    )
    assert (live.epochs, live.fc_lr) == (8, on_bank.fc_lr)
    assert on_bank.epochs == 60
    assert make_config("stage2", "experiment=glyphs", "features=bank:b", "resume=x").epochs == 10


def test_dqn_sees_maps_where_the_experiment_says_that_they_are_small(make_config):
    small = make_config("stage2", "algo=dqn")
    assert (small.observation, small.algo.arguments["buffer_size"]) == ("map", 20000)
    full = make_config("stage2", "algo=dqn", "experiment=actnet_patch128", "data_dir=x")
    assert (full.observation, full.algo.arguments["buffer_size"]) == ("vector", 50000)
    assert make_config("stage2", "algo=dqn", "observation=vector").observation == "vector"


def test_arguments_that_are_not_given_are_left_to_the_preset(make_config):
    algo = make_config("stage2", "recipes.gru_ppo=null").algo
    assert (algo.name, algo.preset) == ("gru_ppo", "demo")
    assert {key: value for key, value in algo.arguments.items() if value} == {}
    algo = make_config("stage2", "algo.gamma=0.5", "algo.preset=paper").algo
    assert (algo.preset, algo.arguments["gamma"]) == ("paper", 0.5)


@pytest.mark.parametrize(
    ("given", "head"),
    [
        ([], "spatial"),
        (["locations=skip", "reward=skip"], "spatial"),
        (["locations=continuous"], None),
        (["observation=vector"], None),
        (["algo.preset=paper"], None),
        (["algo.policy_kwargs.head=flat"], "flat"),
        (["experiment=glyphs_memory"], None),
    ],
)
def test_the_recipe_has_a_spatial_head_where_one_is_possible(make_config, given, head):
    arguments = make_config("stage2", *given).algo.arguments
    assert arguments.get("policy_kwargs", {}).get("head") == head
    assert ("learning_rate" in arguments) == (head is not None)


def test_commands_that_do_not_train_have_no_recipe_and_ask_for_what_they_need(make_config):
    assert make_config("benchmark").batch_size is None
    with pytest.raises(ConfigError, match="benchmark needs batch_size=N: "):
        make_config("benchmark").need("batch_size")
    assert make_config("stage1", "epochs=3").need("epochs") == 3
