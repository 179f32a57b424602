"""Multiply-adds: the published counts, small ones by hand, and the command that prints them."""

import json

import numpy as np
import pytest
import torch

from adafocus_env.envs import ActiveVisionVectorEnv
from agents import GruPPO, RandomAgent, Sb3VecEnvAdapter, evaluate_agent
from train.evaluation.flops import StepCosts, multiply_adds, run_flops


@pytest.fixture
def count(make_config, quiet, tmp_path):
    """Counts a configuration: what `flops.json` says."""

    def run(*overrides):
        run_flops(make_config("flops", *overrides, f"output_dir={tmp_path}"), quiet())
        return json.loads((tmp_path / "flops.json").read_text())

    return run


@pytest.mark.parametrize(
    ("patch_size", "gigamacs"), [(96, 17.180), (128, 26.522), (160, 38.533), (192, 53.213)]
)
def test_a_video_costs_the_published_multiply_adds(count, patch_size, gigamacs):
    result = count(f"experiment=actnet_patch{patch_size}")  # no data_dir
    assert result["total"] / 1e9 == pytest.approx(gigamacs, rel=1e-4)
    assert (result["num_frames"], result["num_classes"]) == (16, 200)
    # As published, for P = 128 and 16 frames (PUBLISHED.md, Costs).
    giga = {part: n / 1e9 for part, n in result["multiply_adds_per_video"].items()}
    assert list(giga) == ["glancer", "policy", "focuser", "classifier"]
    assert giga["glancer"] == pytest.approx(16 * 0.299494, rel=1e-4)
    assert giga["policy"] == pytest.approx(16 * 0.009954, rel=1e-3)
    assert giga["classifier"] == pytest.approx(0.217186, rel=1e-4)
    if patch_size == 128:
        assert giga["focuser"] == pytest.approx(16 * 1.334575, rel=1e-4)


# The paper's table 3, and what its networks come to (PUBLISHED.md, Costs).
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("patch_size", "gigamacs"), [(144, 23.49), (160, 27.42), (176, 33.67)])
def test_glances_and_patches_of_something_something_cost_the_published_multiply_adds(
    count, version, patch_size, gigamacs
):
    result = count(f"experiment=sthsth_{version}_patch{patch_size}")
    parts = result["multiply_adds_per_video"]
    assert (parts["glancer"] + parts["focuser"]) / 1e9 == pytest.approx(gigamacs, rel=1e-3)
    assert result["num_classes"] == 174
    # A linear layer over the mean patch vector, and the glancer's own over eight glances.
    assert parts["classifier"] == 2048 * 174 + 8 * 1280 * 174
    assert parts["policy"] / 1e9 == pytest.approx(0.042, abs=1e-3)


def test_a_decision_for_each_division_costs_no_more_patches(count):
    results = (count("experiment=sthsth_v1_patch144", f"video_div={d}") for d in (1, 4))
    whole, divided = (result["multiply_adds_per_video"] for result in results)
    for part in ("glancer", "focuser"):
        assert whole[part] == divided[part]
    assert divided["classifier"] == 4 * 2048 * 174 + 8 * 1280 * 174
    # The first layer sees a quarter of the channels, four times.
    once = 1280 * 8 * 64 * 49
    assert divided["policy"] - once == 4 * (whole["policy"] - once)


def test_small_parts_cost_what_their_shapes_say(count):
    overrides = ["num_frames=3", "hidden_dim=16", "action_dim=25", "recipes.gru_ppo=null"]
    overrides += ["++algo.policy_kwargs.hidden_dim=8", "++algo.policy_kwargs.channels=4"]
    parts = count(*overrides)["multiply_adds_per_video"]
    # GRU: three gates, each of input x state and state x state; then the linear layers.
    assert parts["classifier"] == 3 * (3 * 16 * (176 + 16) + 16 * 10)
    policy = 48 * 4 * 49 + 4 * 49 * 8 + 3 * 8 * (8 + 8) + 8 * 25 + 8
    assert parts["policy"] == 3 * policy


def test_the_spatial_head_costs_a_convolution_its_averages_and_its_frame(count):
    overrides = ["num_frames=3", "action_dim=25", "++algo.policy_kwargs.head=spatial"]
    overrides += ["++algo.policy_kwargs.recurrent=false", "++algo.policy_kwargs.head_dim=8"]
    overrides += ["recipes.gru_ppo=null"]
    cells, means, scores = 48 * 8 * 49, 8 * 49 * 25, 8 * 25
    frame, value = 48 * 8, 48 * 8 + 8
    assert count(*overrides)["multiply_adds_per_video"]["policy"] == 3 * (
        cells + means + scores + frame + value
    )


def test_classes_are_counted_by_the_class_file(count, video_folder):
    assert count()["num_classes"] == 10  # the built-in videos
    assert count("experiment=videos")["num_classes"] == 200
    assert count("experiment=fcvid_patch128")["num_classes"] == 239
    assert count("experiment=videos", f"data_dir={video_folder}")["num_classes"] == 3


def test_the_command_ends_in_two_lines_that_a_narrow_terminal_does_not_break(
    run_command, tmp_path, monkeypatch
):
    done = run_command("flops", "experiment=actnet_patch128", f"output_dir={tmp_path}")
    lines = done.out.splitlines()
    assert lines[-2] == "glancer + focuser 26.15 G multiply-adds per video"
    assert lines[-1] == "total 26.52 G multiply-adds per video"
    (row,) = [line for line in lines if "classifier" in line]
    assert row.split()[3:8:2] == ["0.013574", "16", "0.217"]
    monkeypatch.setenv("COLUMNS", "20")
    done = run_command("flops", f"output_dir={tmp_path}")
    assert done.out.splitlines()[-1].startswith("total ")
    assert done.out.splitlines()[-1].endswith(" G multiply-adds per video")


def test_counting_without_a_policy_leaves_it_out_and_the_recognizer_as_it_was(make_recognizer):
    recognizer = make_recognizer()
    before = recognizer.fingerprint()
    state = torch.random.get_rng_state()
    assert multiply_adds(recognizer).keys() == {"glancer", "focuser", "classifier"}
    assert recognizer.fingerprint() == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_loaded_policy_is_counted_by_its_own_sizes(make_recognizer, small_policy):
    for num_actions, outputs in ((16, 16), (None, 2)):
        counts = multiply_adds(make_recognizer(), small_policy(num_actions, (48,)))  # 4 frames
        assert counts["policy"] == 4 * (48 * 8 + 3 * 8 * 16 + 8 * outputs + 8)


WHOLE = {"glancer": 20.0, "policy": 4.0, "focuser": 400.0, "classifier": 40.0}


def test_where_an_action_ends_the_episode_nothing_is_charged_after_it():
    focused = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    spent = StepCosts(WHOLE, looks_per_frame=2, ends=True).spent(focused)
    # Two frames of 10, each glanced at when it is first shown; the third decision of the second
    # video, which ends it, was taken at the second frame.
    once, twice = [10, 0, 0, 0], [10, 0, 10, 0]
    assert spent["glancer"].tolist() == [twice, twice, once, once]
    assert spent["policy"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    assert np.array_equal(spent["focuser"], 100.0 * focused)
    assert np.array_equal(spent["classifier"], 10.0 * focused)


def test_where_the_belief_ends_the_episode_nobody_is_asked_after_the_last_look():
    focused = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    for ends in (False, True):
        spent = StepCosts(WHOLE, looks_per_frame=2, ends=ends, until_sure=True).spent(focused)
        once, twice = [10, 0, 0, 0], [10, 0, 10, 0]
        assert spent["glancer"].tolist() == [twice, once, once]
        for part in ("policy", "focuser", "classifier"):
            assert np.array_equal(spent[part] > 0, focused)


def test_where_frames_are_skipped_the_focuser_alone_rests():
    focused = np.array([[True, False, True, False]])
    spent = StepCosts(WHOLE).spent(focused)
    assert spent["focuser"].tolist() == [[100, 0, 100, 0]]
    assert spent["glancer"].tolist() == [[5, 5, 5, 5]]
    assert spent["policy"].tolist() == [[1, 1, 1, 1]]
    assert spent["classifier"].tolist() == [[10, 10, 10, 10]]


@pytest.mark.parametrize("ends", [False, True])
def test_the_mean_is_that_of_the_decisions(ends):
    focused = np.random.default_rng(0).random((31, 4)) < 0.7
    costs = StepCosts(WHOLE, looks_per_frame=2, ends=ends)
    means = {part: each.sum(axis=1).mean() for part, each in costs.spent(focused).items()}
    assert costs.mean_spent(focused) == pytest.approx(means)


def test_who_does_the_same_costs_the_same_to_the_bit():
    costs = StepCosts({part: total / 7 for part, total in WHOLE.items()})
    once, often = (costs.mean_spent(np.ones((count, 6), dtype=bool)) for count in (12, 12 * 13))
    assert once == often == costs.whole


@pytest.mark.parametrize("stop", [False, True])
def test_what_is_charged_is_what_the_environment_counts(tiny_recognizer, make_videos, stop):
    rules = {"num_envs": 5, "stop": stop, "looks_per_frame": 2, "autoreset_mode": "disabled"}
    env = ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)
    agent = RandomAgent(env.single_action_space)
    if stop:  # every third action ends the episode
        agent._draw = lambda rng: rng.choice([49, int(rng.integers(49))], p=[1 / 3, 2 / 3])
    result = evaluate_agent(env, agent, draws=4)
    core = env.core
    looks, frames = core.num_decisions, core.source.num_decisions
    whole = {"glancer": frames * core._costs.frame, "focuser": looks * core._costs.look}
    spent = StepCosts(whole, 2, ends=stop).spent(result.focused())
    charged = sum(part.sum(axis=1) for part in spent.values())
    assert charged[-5:] == pytest.approx(core.multiply_adds.numpy())


def test_the_policy_of_a_closed_loop_is_counted(tiny_recognizer, make_videos):
    env = ActiveVisionVectorEnv.from_parts(
        tiny_recognizer, make_videos(), num_envs=2, autoreset_mode="same_step"
    )
    sizes = {"head": "spatial", "recurrent": False, "head_dim": 8}
    policy = GruPPO(env=Sb3VecEnvAdapter(env), policy_kwargs=sizes).policy
    cells, positions = 8 * env.core.source.observation_shape[0], env.core.grid.num_actions
    assert multiply_adds(tiny_recognizer, policy)["policy"] >= 8 * (cells + 8 * positions)
