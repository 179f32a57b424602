"""ActiveVisionEnv: several looks at a frame, what was seen is observed, an action may end it."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.wrappers import RecordVideo

from adafocus_env.envs import (
    PatchLocalizationEnv,
)

ID = "AdaFocus/ActiveVision-v0"
STOP = 49


def test_each_frame_is_shown_for_as_many_looks_as_asked_for(make_loop):
    env = make_loop(looks_per_frame=2)
    first, _ = env.reset(seed=0)
    shown, frames, progress = [first["glance"]], [], [first["progress"].tolist()]
    for t in range(8):
        observation, _, terminated, truncated, info = env.step(t)
        assert (terminated, truncated) == (t == 7, False)
        shown.append(observation["glance"])
        frames.append(info["frame_index"])
        progress.append(observation["progress"].tolist())
    assert frames == [0, 0, 1, 1, 2, 2, 3, 3]
    same = [np.array_equal(*pair) for pair in itertools.pairwise(shown)]
    assert same == [True, False, True, False, True, False, True, True]
    assert progress == [[(t // 2) / 4, t / 8] for t in range(9)]


def test_an_observation_shows_what_the_last_look_saw_and_where_and_what_is_believed(make_loop):
    env = make_loop()
    before, _ = env.reset(seed=0)
    assert not before["patch"].any()
    assert before["origin"].tolist() == [0.0, 0.0, 0.0]
    assert before["belief"].tolist() == pytest.approx([1 / 3] * 3)
    after, reward, _, _, info = env.step(9)  # row 1, column 2 of 7: pixels 4 and 9 of 28
    assert after["origin"].tolist() == pytest.approx([4 / 28, 9 / 28, 1.0])
    seen = env.core.features.focus(torch.tensor([0]), torch.tensor([0]), torch.tensor([[4, 9]]))
    np.testing.assert_allclose(after["patch"], seen[0].numpy(), rtol=0, atol=1e-5)
    assert after["belief"][info["label"]] == pytest.approx(info["confidence"])
    assert reward == pytest.approx(math.log(info["confidence"] * 3), abs=1e-5)
    assert env.observation_space.contains(after)


def test_the_steps_are_those_of_the_open_loop(make_loop, make_env):
    rules = {"reward": "random", "baseline_positions": "pixel"}
    loop, patches = make_loop(**rules), make_env(**rules)
    assert isinstance(patches, PatchLocalizationEnv)
    one, other = loop.reset(seed=3), patches.reset(seed=3)
    np.testing.assert_array_equal(one[0]["glance"], other[0])
    for action in (3, 11, 40, 7):
        one, other = loop.step(action), patches.step(action)
        np.testing.assert_array_equal(one[0]["glance"], other[0])
        assert one[1:3] == other[1:3]
        spent = one[4].pop("multiply_adds")
        assert spent > 0
        box = one[4].pop("patch_box"), other[4].pop("patch_box")
        assert box[0].tolist() == box[1].tolist()
        assert one[4] == other[4]


@pytest.mark.parametrize("looks", [1, 3])
def test_the_return_of_information_is_what_is_known_in_the_end_less_the_looks_price(
    make_loop, looks
):
    env = make_loop(looks_per_frame=looks, look_cost=0.125)
    env.reset(seed=1)
    steps = [env.step(5 * t % 49) for t in range(4 * looks)]
    total = sum(step[1] for step in steps) + 0.125 * 4 * looks
    assert total == pytest.approx(math.log(steps[-1][4]["confidence"] * 3), abs=1e-4)


def test_stopping_ends_the_episode_and_neither_costs_nor_brings_anything(make_loop):
    env = make_loop(stop=True, looks_per_frame=2, look_cost=0.5)
    assert env.action_space == spaces.Discrete(50)
    env.reset(seed=2)
    looks = [env.step(action) for action in (8, 30, 12)]
    before = looks[-1]
    observation, reward, terminated, _, info = env.step(STOP)
    assert (reward, terminated) == (0.0, True)
    assert info["confidence"] == pytest.approx(before[4]["confidence"])
    assert info["predicted_label"] == before[4]["predicted_label"]
    assert info["is_success"] == (info["predicted_label"] == info["label"])
    assert info["patch_box"].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(observation["belief"], before[0]["belief"])
    with pytest.raises(ResetNeeded):
        env.step(0)
    assert not env.reset()[0]["patch"].any()


def test_stopping_at_once_believes_nothing(make_loop):
    env = make_loop(stop=True)
    env.reset(seed=2)
    _, reward, terminated, _, info = env.step(STOP)
    assert (reward, terminated, info["confidence"]) == (0.0, True, pytest.approx(1 / 3))


def test_multiply_adds_are_of_the_frames_shown_and_the_looks_taken(make_loop):
    env = make_loop(stop=True, looks_per_frame=2)
    frame, look = env.core._costs.frame, env.core._costs.look
    assert frame > 0
    assert look > 0
    env.reset(seed=0)
    spent = [env.step(action)[4]["multiply_adds"] for action in (1, 2, 3, STOP)]
    counted = [frame + look, frame + 2 * look, 2 * frame + 3 * look, 2 * frame + 3 * look]
    assert spent == pytest.approx(counted)


def test_observation_names_parts_of_what_is_there(make_loop):
    env = make_loop(observation="glance")
    assert list(env.observation_space.spaces) == ["glance"]
    assert list(env.reset(seed=0)[0]) == ["glance"]
    env = make_loop(observation=["belief", "patch"])
    observation, _ = env.reset(seed=0)
    assert sorted(observation) == ["belief", "patch"]
    assert env.observation_space.contains(observation)


def test_patch_pixels_are_those_of_the_last_patch(make_loop):
    env = make_loop(patch_pixels=True, render_mode="rgb_array")
    assert not env.reset(seed=0)[0]["patch"].any()
    observation = env.step(9)[0]
    frame = env.core.features.frame(0, 0)
    np.testing.assert_array_equal(observation["patch"], frame[4:16, 9:21].transpose(2, 0, 1))
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"observation": "glimpse"}, "unknown observation 'glimpse'; known are glance, patch"),
        ({"observation": ["glance", "label"]}, "unknown observation 'label'"),
        ({"observation": []}, "observation= names nothing"),
        ({"looks_per_frame": 0}, "looks_per_frame=0 should be greater than or equal to 1"),
        ({"looks_per_frame": -2}, "looks_per_frame=-2 should be greater than or equal to 1"),
        ({"look_cost": -0.1}, "look_cost is a number, 0 or more, not -0.1"),
        ({"stop": True, "locations": "continuous"}, "stop=True adds an action to those of a grid"),
        ({"locations": "skip"}, "locations='skip' should be 'grid' or 'continuous'"),
        ({"patch_pixels": True, "observation": "glance"}, "which observation= leaves out"),
        ({"reward": "informed"}, "unknown reward 'informed'"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_in_one_line(make_loop, rules, text):
    with pytest.raises(ValueError, match=text) as caught:
        make_loop(**rules)
    assert "\n" not in str(caught.value)


def test_an_open_loops_arguments_are_named_as_unknown(make_loop, make_env):
    with pytest.raises(TypeError, match="unexpected keyword argument 'skip_cost'"):
        make_loop(skip_cost=0.1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'looks_per_frame'"):
        make_env(looks_per_frame=2)


def test_an_action_beyond_the_one_that_stops_is_refused(make_loop):
    env = make_loop(stop=True)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=r"action 50 .* which ends the episode"):
        env.step(50)


def test_all_actions_are_always_possible(make_loop, make_loops):
    assert make_loop(stop=True).action_masks().tolist() == [True] * 50
    assert make_loops(2).action_masks().shape == (2, 49)


def test_pickling_keeps_the_episode(make_loop, assert_equal):
    env = make_loop(stop=True)
    env.reset(seed=7)
    env.step(3)
    twin = pickle.loads(pickle.dumps(env))
    assert_equal(env.step(17), twin.step(17))


def test_a_picture_shows_the_last_patch_enlarged_beside_the_frame(make_loop):
    env = make_loop(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(9)
    after = env.render()
    assert before.shape == after.shape
    width = after.shape[1]
    side = width // 3  # the patch is half as wide as the frame
    panel = after[:side, -side:]
    patch = env.core.features.frame(0, 0)[4:16, 9:21]
    middle = [int((i + 0.5) * side / 12) for i in range(12)]
    np.testing.assert_array_equal(panel[np.ix_(middle, middle)], patch)
    assert len(np.unique(before[:side, -side:])) == 1


def test_record_video_takes_its_pictures(make_loop, tmp_path):
    env = RecordVideo(make_loop(render_mode="rgb_array", stop=True), str(tmp_path))
    env.reset(seed=0)
    for action in (3, 9, STOP):
        env.step(action)
    env.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
