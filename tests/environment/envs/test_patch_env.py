"""PatchLocalizationEnv: one video at a time, as a Gymnasium environment."""

import copy
import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import InvalidAction

from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.envs import REWARDS

RESET_TYPES = dict.fromkeys(("video_index", "frame_index", "label"), int)
STEP_TYPES = {
    **RESET_TYPES,
    "confidence": float,
    "baseline_confidence": float,
    "predicted_label": int,
    "patch_box": np.ndarray,
}


def _types(info):
    return {name: type(value) for name, value in info.items()}


@pytest.mark.parametrize(
    ("rules", "observation_shape", "action_space"),
    [
        ({}, (48, 7, 7), spaces.Discrete(49)),
        ({"grid_size": 4}, (48, 7, 7), spaces.Discrete(16)),
        ({"observation": "vector"}, (48,), spaces.Discrete(49)),
        ({"locations": "continuous"}, (48, 7, 7), spaces.Box(0, 1, (2,), np.float32)),
    ],
    ids=str,
)
def test_spaces_are_the_documented_ones(make_env, rules, observation_shape, action_space):
    env = make_env(**rules)
    assert env.observation_space == spaces.Box(0, 6, observation_shape, np.float32)
    assert env.action_space == action_space


@pytest.mark.parametrize("reward", REWARDS)
def test_an_episode_is_exactly_t_frames_and_ends_with_terminated(make_env, reward):
    env = make_env(reward=reward)
    for episode in range(2):
        observation, info = env.reset(seed=3 if episode == 0 else None)
        assert env.observation_space.contains(observation)
        assert _types(info) == RESET_TYPES
        assert info["frame_index"] == 0
        video, label = info["video_index"], info["label"]
        for t in range(4):
            observation, step_reward, terminated, truncated, info = env.step(t)
            assert env.observation_space.contains(observation)
            assert type(step_reward) is float
            assert terminated is (t == 3)
            assert truncated is False
            assert _types(info) == (STEP_TYPES | {"is_success": bool} if terminated else STEP_TYPES)
            assert (info["patch_box"].dtype, info["patch_box"].shape) == (np.int64, (4,))
            assert 0 < info["confidence"] < 1
            assert info["frame_index"] == t
            assert (info["video_index"], info["label"]) == (video, label)
            gain = info["confidence"] - info["baseline_confidence"]
            if reward == "information":
                gain = math.log(info["confidence"] / info["baseline_confidence"])
            assert step_reward == pytest.approx(gain, abs=1e-6)
        assert info["is_success"] is (info["predicted_label"] == label)


@pytest.mark.parametrize(
    ("rules", "action", "box"),
    [
        ({}, 0, [0, 0, 12, 12]),
        ({}, 48, [28, 28, 12, 12]),
        ({}, 10, [4, 14, 12, 12]),  # row 1: 28 // 6, column 3: 84 // 6
        ({"grid_size": 4, "patch_size": 30}, 7, [3, 10, 30, 30]),  # row 1: 10 // 3, column 3: 10
        ({"locations": "continuous"}, np.array([1.0, 0.5], np.float32), [28, 14, 12, 12]),
    ],
)
def test_patch_box_is_top_left_height_width_in_pixels(make_env, rules, action, box):
    env = make_env(**rules)
    env.reset(seed=0)
    assert env.step(action)[4]["patch_box"].tolist() == box


def test_observations_and_infos_are_copies(make_env):
    env = make_env()
    env.reset(seed=0)
    kept = [env.step(0) for _ in range(3)]
    saved = copy.deepcopy(kept)
    for observation, _, _, _, info in kept:
        observation[:] = -1.0
        info["patch_box"][:] = -1
    last = env.step(0)
    env.reset(seed=0)
    again = [env.step(0) for _ in range(4)]
    for one, other in zip([*saved, last], again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[4]["patch_box"], other[4]["patch_box"])


def test_a_video_and_an_episode_seed_may_be_chosen_at_reset(make_env, assert_equal):
    env = make_env()
    for index in (4, np.int64(2), 0):
        _, info = env.reset(options={"video_index": index})
        assert (info["video_index"], info["label"]) == (index, index % 3)
    options = {"video_index": 1, "episode_seed": 2**64 - 1}
    record = []
    for seed in (0, 1):
        record.append([env.reset(seed=seed, options=options), *(env.step(3) for _ in range(4))])
    assert_equal(record[0], record[1])
    assert env.core.starts[0].episode_seed == 2**64 - 1


def test_a_bad_reset_option_is_refused(make_env):
    env = make_env()
    env.reset(seed=0)
    for options, message in (
        ({"video": 3}, r"unknown reset options \['video'\]; known are video_index"),
        ({"reset_mask": None}, "unknown reset options"),
        ({"video_index": 5}, r"video_index 5 is not in 0\.\.4"),
        ({"video_index": -1}, r"'video_index'\] must be an integer, 0 or more, got -1"),
        *(({"video_index": bad}, "must be an integer") for bad in (1.0, "1", True, [1])),
        *(({"episode_seed": bad}, r"'episode_seed'\] must be an") for bad in (-1, 2**64)),
    ):
        error = IndexError if options == {"video_index": 5} else ValueError
        with pytest.raises(error, match=message):
            env.reset(options=options)


@pytest.mark.parametrize(
    ("locations", "good", "bad"),
    [
        ("grid", [3, np.int64(3), np.array(3), np.uint8(3)], [49, 3.0, [3], "3", None, True]),
        ("continuous", [[0.0, 0.5]], [[1.01, 0.0], 0.5, [0.5] * 3, [[0.5, 0.5]], "ab"]),
    ],
    ids=["grid", "continuous"],
)
def test_an_action_is_a_location_of_any_type_and_anything_else_is_refused(
    make_env, make_vector_env, locations, good, bad
):
    env, rows = make_env(locations=locations), make_vector_env(2, locations=locations)
    env.reset(seed=0)
    rows.reset(seed=0)
    for action in bad:
        for take, given in (
            (env.step, action),
            (rows.step, [action] * 2),
            (rows.play, [[action] * 4] * 2),
        ):
            with pytest.raises(InvalidAction):
                take(given)
    assert rows.core.steps.tolist() == [0, 0]
    for t, action in enumerate(good):
        info = env.step(action)[4]
        assert info["patch_box"].tolist() == [0, 14, 12, 12]
        assert info["frame_index"] == t  # nothing has happened before


def test_rendering_changes_no_state(make_env, assert_equal):
    plain, drawn = make_env(), make_env(render_mode="rgb_array")
    assert_equal(plain.reset(seed=0), drawn.reset(seed=0))
    images = []
    for _ in range(2):
        for action in (0, 10, 20, 48):
            images.append(drawn.render())
            np.testing.assert_array_equal(drawn.render(), images[-1])
            assert_equal(plain.step(action), drawn.step(action))
        images.append(drawn.render())
        assert_equal(plain.reset(), drawn.reset())
    # A video needs frames of one size, also before the first look.
    [(dtype, (_, _, channels))] = {(image.dtype, image.shape) for image in images}
    assert (dtype, channels) == (np.uint8, 3)


def test_render_without_a_mode_returns_none_and_says_why(make_env, make_vector_env):
    for make in (make_env, lambda **rules: make_vector_env(2, **rules)):
        env = make()
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
            assert env.render() is None
        with pytest.raises(ValueError, match="None or 'rgb_array', not 'human'"):
            make(render_mode="human")


def test_record_video_writes_every_frame_of_an_episode(glyph_recognizer_folder, tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo needs moviepy: pip install moviepy")
    env = gym.make(
        "AdaFocus/PatchLocalization-v0",
        recognizer=str(glyph_recognizer_folder),
        render_mode="rgb_array",
        num_frames=3,
    )
    recorder = gym.wrappers.RecordVideo(
        env, str(tmp_path / "new"), episode_trigger=lambda i: i == 0
    )
    recorder.reset(seed=0)
    for _ in range(3):
        recorder.step(24)
    recorder.close()
    [video] = (tmp_path / "new").glob("*.mp4")
    frames = [frame for _, frame in VideoFile(video).read()]
    assert len(frames) == 4  # before the first look, and after each of the three
    image = env.render()
    assert frames[-1].shape == image.shape
    assert np.abs(frames[-1].astype(int) - image).mean() < 10
