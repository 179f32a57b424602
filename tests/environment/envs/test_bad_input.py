"""What `make` says to arguments it cannot use."""

import inspect
import json
import re
import shutil
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded

from adafocus_env.data import VideoError
from adafocus_env.envs import (
    REWARDS,
    PatchLocalizationEnv,
    PatchLocalizationVectorEnv,
    shipped_recognizer,
)
from adafocus_env.envs.factory import ARGUMENTS, make_core, make_core_from_parts
from adafocus_env.networks import CheckpointError

GRID = "AdaFocus/PatchLocalization-v0"
CONTINUOUS = "AdaFocus/PatchLocalizationContinuous-v0"


@pytest.fixture(params=["make", "make_vec"])
def make(request):
    """Each test runs on the single and on the vector environment."""
    return gym.make if request.param == "make" else gym.make_vec


@pytest.mark.parametrize(
    ("typo", "cure"),
    [
        ("grid_sise", "did you mean grid_size?"),
        ("rewards", "did you mean reward?"),
        ("recogniser", "did you mean recognizer?"),
        ("render_mod", "did you mean render_mode?"),
        ("num_rows", "unknown argument num_rows"),
        ("bank", "unknown argument bank"),
        ("seed", "known are dataset, split, data_dir"),
    ],
)
def test_a_typo_in_an_argument_is_a_type_error_that_names_the_nearest(make, typo, cure):
    with pytest.raises(TypeError, match=f"unknown argument {typo}; .*") as caught:
        make(GRID, **{typo: 5})
    assert cure in str(caught.value)


@pytest.mark.parametrize("env_type", [PatchLocalizationEnv, PatchLocalizationVectorEnv])
def test_an_unknown_argument_beside_given_networks_is_refused_alike(
    env_type, tiny_recognizer, make_videos
):
    with pytest.raises(TypeError, match=r"unknown argument grid_sise; did you mean grid_size\?"):
        env_type.from_parts(tiny_recognizer, make_videos(), grid_sise=5)


def test_a_time_limit_is_refused_where_all_rows_end_together():
    with pytest.raises(TypeError, match=r"max_episode_steps: an episode always .*num_frames="):
        gym.make_vec(GRID, num_envs=2, max_episode_steps=5)


def test_a_time_limit_of_one_environment_is_gymnasiums_wrapper():
    env = gym.make(GRID, max_episode_steps=5)
    env.reset(seed=0)
    ends = [env.step(24)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_the_manual_lists_every_argument_with_its_default():
    table = re.findall(r"^ *\| `(\w+)` \| `?([^|`]+)`? \|", PatchLocalizationEnv.__doc__, re.M)
    listed = {name: default.strip(' "') for name, default in table if name not in REWARDS}
    signatures = [inspect.signature(make_core_from_parts), inspect.signature(make_core)]
    defaults = {n: p.default for s in signatures for n, p in s.parameters.items()}
    expected = {name: str(defaults[name]) for name in ARGUMENTS} | {"render_mode": "None"}
    assert listed == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "accuracy"}, "unknown reward 'accuracy'; known are random, expected"),
        ({"split": "valid"}, "train, val, test, not 'valid'"),
        ({"dataset": "imagenet"}, "unknown dataset 'imagenet'; known are glyphs, videos"),
        ({"dataset": "videos"}, "needs data_dir=FOLDER"),
        ({"grid_size": 3}, "grid_size must be 4 to 10, not 3"),
        ({"grid_size": 11}, "grid_size must be 4 to 10, not 11"),
        ({"patch_size": 113}, r"patch_size must be in 1\.\.112, not 113"),
        ({"patch_size": 0}, r"patch_size must be in 1\.\.112, not 0"),
        ({"observation": "frames"}, "'map' or 'vector', not 'frames'"),
        ({"locations": "polar"}, "'grid', 'continuous' or 'skip', not 'polar'"),
        ({"baseline_positions": "corner"}, "'pixel' or 'grid', not 'corner'"),
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": -1}, "num_frames"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_by_make(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(GRID, **arguments)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least one row is needed, got 0"):
        gym.make_vec(GRID, num_envs=0)


def test_a_missing_recognizer_is_named_with_the_command_that_makes_it(make, tmp_path):
    folder = str(tmp_path / "nothing_here")
    with pytest.raises(FileNotFoundError, match=f"no recognizer in {folder}: .*'adafocus stage1'"):
        make(GRID, recognizer=folder)


def test_a_broken_recognizer_is_named(make, tmp_path):
    shutil.copytree(shipped_recognizer(), tmp_path / "broken")
    (tmp_path / "broken" / "recognizer.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"broken.recognizer\.safetensors does not fit"):
        make(GRID, recognizer=str(tmp_path / "broken"))


def test_a_recognizer_of_other_classes_is_refused(make, tmp_path):
    shutil.copytree(shipped_recognizer(), tmp_path / "other")
    file = tmp_path / "other" / "recognizer.json"
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, "class_names": [str(k) for k in range(10)]}))
    with pytest.raises(ValueError, match="class 0 is '0' to the recognizer but 'digit 0' in"):
        make(GRID, recognizer=str(tmp_path / "other"))


def test_a_recognizer_for_frames_of_another_size_is_refused(make, tiny_recognizer, tmp_path):
    tiny_recognizer.save(tmp_path)
    with pytest.raises(ValueError, match="112 pixels wide but the recognizer takes 40"):
        make(GRID, recognizer=str(tmp_path))


@pytest.fixture
def own_videos(tiny_recognizer, video_folder, tmp_path):
    """Arguments of `make` for three videos of one's own."""
    tiny_recognizer.save(tmp_path / "recognizer")
    shutil.copytree(video_folder, tmp_path / "data")
    return {
        "dataset": "videos",
        "data_dir": str(tmp_path / "data"),
        "recognizer": str(tmp_path / "recognizer"),
    }


def test_videos_of_ones_own_give_episodes(make, own_videos):
    env = make(GRID, **own_videos)
    observation, info = env.reset(seed=0, options={"video_index": 2})
    assert env.observation_space.contains(observation)
    assert np.all(info["label"] == 2)
    actions = np.zeros_like(env.action_space.sample())
    assert [bool(np.all(env.step(actions)[2])) for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("name", ["val.txt", "classes.txt"])
def test_a_missing_list_is_named(make, own_videos, name):
    (Path(own_videos["data_dir"]) / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{own_videos['data_dir']}/{name} does not exist"):
        make(GRID, **own_videos)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"val\.txt: the list file is empty"),
        ("v0.mp4,12\n", r"val\.txt:1: expected 'path,frames,label'"),
        ("v0.mp4,12,0\nv1.mp4,12,7\n", r"val\.txt:2: label 7 is not in 0\.\.2"),
        ("../v0.mp4,12,0\n", r"val\.txt:1: .*leaves the data folder"),
        ("/etc/v0.mp4,12,0\n", r"val\.txt:1: .*leaves the data folder"),
        ("v0.mp4,twelve,0\n", r"val\.txt:1: frames and label must be integers"),
    ],
)
def test_a_bad_list_is_named_by_make(make, own_videos, text, message):
    (Path(own_videos["data_dir"]) / "val.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        make(GRID, **own_videos)


def test_a_link_that_leaves_the_folder_is_named_by_make(make, own_videos, tmp_path):
    (tmp_path / "outside.mp4").touch()
    link = Path(own_videos["data_dir"]) / "videos" / "link.mp4"
    link.symlink_to(tmp_path / "outside.mp4")
    (Path(own_videos["data_dir"]) / "val.txt").write_text("link.mp4,12,0\n")
    with pytest.raises(ValueError, match=r"val\.txt:1: .*leaves the data folder"):
        make(GRID, **own_videos)


@pytest.mark.parametrize("media", ["videos", "frames"])
def test_a_published_data_set_gives_episodes(make, own_videos, media, video_frames):
    folder = Path(own_videos["data_dir"])
    (folder / "classes.txt").rename(folder / "classInd.txt")
    (folder / "actnet_val_split.txt").write_text("v0,12,1,0\n")
    (folder / "frames" / "v0").mkdir(parents=True)
    for t, frame in enumerate(video_frames, start=1):
        cv2.imwrite(str(folder / "frames" / "v0" / f"image_{t:05d}.jpg"), frame)
    env = make(GRID, **{**own_videos, "dataset": "actnet"}, media=media)
    _, info = env.reset(seed=0)
    assert np.all(info["label"] == 0)


def test_more_classes_than_the_recognizer_knows_are_refused(make, own_videos):
    with (Path(own_videos["data_dir"]) / "classes.txt").open("a") as file:
        file.write("class 3\n")
    with pytest.raises(ValueError, match=r"knows 3 classes .* videos have 4"):
        make(GRID, **own_videos)


@pytest.mark.parametrize("lists", [{"list_flie": "x.txt"}, {"separators": " "}], ids=str)
def test_a_typo_in_lists_is_a_type_error(make, own_videos, lists):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        make(GRID, lists=lists, **own_videos)


@pytest.mark.parametrize("damage", ["missing", "text", "zero bytes"])
def test_an_unreadable_video_is_named_and_never_replaced(make, own_videos, damage):
    video = Path(own_videos["data_dir"]) / "videos" / "v1.mp4"
    video.unlink()
    if damage != "missing":
        video.write_bytes(b"" if damage == "zero bytes" else b"not a video\n" * 100)
    env = make(GRID, **own_videos)
    with pytest.raises(VideoError, match=str(video)):
        env.reset(seed=0, options={"video_index": 1})
    _, info = env.reset(options={"video_index": 0})
    assert np.all(info["video_index"] == 0)


@pytest.mark.parametrize(
    ("env_id", "action", "message"),
    [
        (GRID, 49, r"action 49 is not in 0\.\.48"),
        (GRID, 1.5, "expected integer actions"),
        (GRID, [1], "expected integer actions"),
        (CONTINUOUS, [0.5, 1.5], r"must lie in \[0, 1\]"),
        (CONTINUOUS, [0.5], r"expected \(row, col\) actions"),
        (CONTINUOUS, [np.nan, 0.5], r"must lie in \[0, 1\]"),
    ],
)
def test_a_bad_action_is_refused_through_gymnasiums_wrappers(env_id, action, message):
    env = gym.make(env_id, disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        env.step(action)


def test_a_step_without_an_episode_is_refused_through_gymnasiums_wrappers():
    env = gym.make(GRID, num_frames=1)
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(ResetNeeded, match="are over"):
        env.step(0)
