"""ActiveVisionEnv: what was seen is observed; rows equal single environments, a bank live ones."""

import itertools
import math
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordVideo
from stable_baselines3.common.env_checker import check_env as check_with_sb3

from adafocus_env.envs import (
    OBSERVATIONS,
    ActiveVisionEnv,
    ActiveVisionVectorEnv,
    PatchGrid,
    PatchLocalizationEnv,
)

ID = "AdaFocus/ActiveVision-v0"
STOP = 49


@pytest.fixture
def make_loop(tiny_recognizer, make_videos):
    """Makes single environments over `InMemoryVideos`: 4 frames, 3 classes."""

    def make(**rules):
        return ActiveVisionEnv.from_parts(tiny_recognizer, make_videos(), **rules)

    return make


@pytest.fixture
def make_loops(tiny_recognizer, make_videos):
    """Makes vector environments likewise."""

    def make(num_envs, **rules):
        rules["num_envs"] = num_envs
        return ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)

    return make


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


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("rules", [{"looks_per_frame": 2}, {"stop": True}], ids=str)
def test_row_i_equals_the_single_environment_seeded_with_seed_plus_i(
    make_loop, make_loops, assert_equal, mode, rules
):
    native = make_loops(3, autoreset_mode=mode, **rules)
    sync = SyncVectorEnv([lambda: make_loop(**rules)] * 3, autoreset_mode=mode)
    assert native.metadata == sync.metadata
    assert native.single_observation_space == sync.single_observation_space
    assert_equal(native.reset(seed=4), sync.reset(seed=4))
    ended = np.zeros(3, dtype=np.bool_)
    rng = np.random.default_rng(0)
    for _ in range(14):
        if mode == AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            assert_equal(native.reset(options=dict(options)), sync.reset(options=dict(options)))
        actions = rng.integers(0, 49, 3)
        if native.core.can_stop:
            actions[rng.random(3) < 0.3] = STOP
        one, other = native.step(actions), sync.step(actions)
        assert_equal(one, other)
        ended = one[2]


def test_run_equals_stepping_and_rows_that_ended_idle(make_loops, assert_equal):
    rules = {"stop": True, "autoreset_mode": "disabled", "look_cost": 0.25}
    actions = np.array([[3, 4, 5, 6], [7, STOP, 8, 9], [STOP, 1, 1, 1]])
    env = make_loops(3, **rules)
    env.reset(seed=5)
    shown = []
    result = env.run(lambda seen: shown.append(seen) or actions[:, len(shown) - 1])
    assert result.running.tolist() == [
        [True] * 4,
        [True, True, False, False],
        [True, False, False, False],
    ]
    for row in range(3):
        single = make_loops(1, **rules)
        single.reset(seed=5 + row)
        for t in range(4):
            if not result.running[row, t]:
                assert float(result.rewards[row, t]) == 0.0
                assert not result.focused[row, t]
                continue
            seen = {name: part[row : row + 1].numpy() for name, part in shown[t].items()}
            assert_equal(single._observation(), seen)
            _, reward, _, _, info = single.step(actions[row, t : t + 1])
            assert float(result.rewards[row, t]) == pytest.approx(reward[0], abs=1e-5)
            spent = result.infos["multiply_adds"][row, t]
            assert spent == info["multiply_adds"][0]
        assert result.infos["multiply_adds"][row, -1] == spent
        assert result.infos["confidence"][row, -1] == pytest.approx(info["confidence"][0])
        assert result.infos["is_success"][row] == info["is_success"][0]


def test_run_ends_where_all_rows_have_and_begins_the_next_episodes(make_loops):
    env = make_loops(2, stop=True)
    first = env.reset(seed=0)[1]["video_index"]
    asked = []
    result = env.run(lambda seen: asked.append(1) or np.array([STOP, STOP]))
    assert len(asked) == 1
    assert result.running.sum(dim=1).tolist() == [1, 1]
    assert result.rewards.shape == (2, 4)
    assert result.infos["video_index"][:, -1].tolist() == first.tolist()
    assert env.core.steps.tolist() == [0, 0]
    assert not env.core.over.any()


@pytest.mark.parametrize("rules", [{"looks_per_frame": 2}, {"stop": True}], ids=str)
def test_stepping_on_a_bank_equals_stepping_live(
    tiny_recognizer, make_videos, build_bank, tmp_path, rules
):
    videos = make_videos()
    grid = PatchGrid(7, 40, 12)
    bank = build_bank(tmp_path / "val", tiny_recognizer, videos, positions=grid.all_offsets())

    class OfTheBank(make_videos):
        def clip(self, index, episode_seed):
            return videos.clip(index, bank.episode_seed(index, 0))

    rules = {**rules, "num_envs": 3, "reward": "expected", "look_cost": 0.1}
    banked = ActiveVisionVectorEnv.from_parts(tiny_recognizer, videos, bank=bank, **rules)
    live = ActiveVisionVectorEnv.from_parts(tiny_recognizer, OfTheBank(), **rules)
    one, other = banked.reset(seed=6)[0], live.reset(seed=6)[0]
    rng = np.random.default_rng(1)
    for _ in range(9):
        for name in OBSERVATIONS:
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=5e-3, err_msg=name)
        actions = rng.integers(0, banked.single_action_space.n, 3)
        (one, *mine), (other, *theirs) = banked.step(actions), live.step(actions)
        np.testing.assert_allclose(mine[0], theirs[0], rtol=0, atol=2e-3)
        np.testing.assert_array_equal(mine[1], theirs[1])


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


def test_whole_episodes_are_refused_with_the_way_to_step(make_loops):
    env = make_loops(2)
    env.reset(seed=0)
    with pytest.raises(TypeError, match=r"cannot be observed in advance.* run\(act\)"):
        env.observe_episode()
    with pytest.raises(TypeError, match="cannot be played from actions chosen in advance"):
        env.play(np.zeros((2, 4), int))


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


@pytest.mark.parametrize("rules", [{}, {"stop": True, "observation": ["patch", "belief"]}], ids=str)
def test_both_checkers_pass(rules):
    env = gym.make(ID, render_mode="rgb_array", num_frames=3, **rules)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_with_gymnasium(env.unwrapped)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_with_sb3(env)
    hints = ("It seems that your observation", "The minimal resolution", "Treating image space")
    texts = [str(warning.message) for warning in caught]
    assert [text for text in texts if not text.startswith(hints)] == []


def test_record_video_takes_its_pictures(make_loop, tmp_path):
    env = RecordVideo(make_loop(render_mode="rgb_array", stop=True), str(tmp_path))
    env.reset(seed=0)
    for action in (3, 9, STOP):
        env.step(action)
    env.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]


def test_make_vec_makes_the_native_vector():
    envs = gym.make_vec(ID, num_envs=2, num_frames=2, looks_per_frame=2)
    assert isinstance(envs, ActiveVisionVectorEnv)
    assert envs.num_decisions == 4
