"""What `make` says to arguments it cannot use, and to files that are not there or not right."""

import inspect
import json
import re
import shutil
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch

from adafocus_env import memory
from adafocus_env.data import VideoError
from adafocus_env.envs import (
    REWARDS,
    PatchLocalizationEnv,
    PatchLocalizationVectorEnv,
    shipped_recognizer,
)
from adafocus_env.envs.factory import (
    arguments_of,
    make_active_core,
    make_core,
    make_core_from_parts,
)
from adafocus_env.networks import CheckpointError

GRID = "AdaFocus/PatchLocalization-v0"
ACTIVE = "AdaFocus/ActiveVision-v0"


@pytest.fixture(params=["make", "make_vec"])
def make(request):
    """Each test runs on the single and on the vector environment."""
    return gym.make if request.param == "make" else gym.make_vec


def test_a_typo_in_an_argument_is_a_type_error_that_names_the_nearest(
    make, tiny_recognizer, make_videos
):
    for typo, cure in (
        ("grid_sise", r"did you mean grid_size\?"),
        ("render_mod", r"did you mean render_mode\?"),
        ("num_rows", ""),
        ("bank", ""),
        ("seed", "known are dataset, split, data_dir"),
    ):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{typo}'; .*{cure}"):
            make(GRID, **{typo: 5})
    for env_type in (PatchLocalizationEnv, PatchLocalizationVectorEnv):
        with pytest.raises(TypeError, match=r"'grid_sise'; did you mean grid_size\?"):
            env_type.from_parts(tiny_recognizer, make_videos(), grid_sise=5)


def test_the_manual_lists_every_argument_with_its_default():
    table = re.findall(r"^ *\| `(\w+)` \| `?([^|`]+)`? \|", PatchLocalizationEnv.__doc__, re.M)
    listed = {name: default.strip(' "') for name, default in table if name not in REWARDS}
    signatures = [inspect.signature(make_core_from_parts), inspect.signature(make_core)]
    defaults = {n: p.default for s in signatures for n, p in s.parameters.items()}
    expected = {name: str(defaults[name]) for name in arguments_of(make_core_from_parts)} | {
        "render_mode": "None"
    }
    assert listed == expected


def test_a_time_limit_is_gymnasiums_wrapper_and_refused_where_all_rows_end_together():
    env = gym.make(GRID, max_episode_steps=5)
    env.reset(seed=0)
    assert [env.step(24)[2:4] for _ in range(5)] == [(False, False)] * 4 + [(False, True)]
    with pytest.raises(TypeError, match=r"max_episode_steps: an episode always .*num_frames="):
        gym.make_vec(GRID, num_envs=2, max_episode_steps=5)


def test_a_bad_argument_is_refused_by_make(make):
    for arguments, message in (
        ({"reward": "accuracy"}, "unknown reward 'accuracy'; known are random, expected"),
        ({"split": "valid"}, "train, val, test, not 'valid'"),
        ({"dataset": "imagenet"}, "unknown dataset 'imagenet'; known are glyphs, videos"),
        ({"dataset": "videos"}, "needs data_dir=FOLDER"),
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": -1}, "num_frames"),
    ):
        with pytest.raises(ValueError, match=message):
            make(GRID, **arguments)


# For each type that an argument may be of: values of other types, and of the type but too large.
OTHERS = {
    int: ([2.5, "7", True, np.float32(3), [3]], 10**9),
    float: (["5", True, [1.0], b"1"], 1e9),
    bool: ([1, 0.0, "yes", []], None),
    str: ([3, True, 2.5, ["map"], b"map", {}], None),
    Path: ([3, True, ["a"], b"a"], None),
    dict: (["list_file", 3, [], True], None),
}


@pytest.mark.parametrize(
    ("env_id", "build"), [(GRID, make_core_from_parts), (ACTIVE, make_active_core)]
)
def test_every_argument_of_another_type_or_too_large_is_refused_by_name(make, env_id, build):
    arguments = arguments_of(build)
    arguments |= {} if make is gym.make else {"num_envs": int}
    for name, hint in arguments.items():
        told = repr(hint)
        kinds = (dict, Path, bool, int, float, str)
        kind = next(kind for kind in kinds if kind.__name__ in told or kind is str)
        values, large = OTHERS[kind]
        for value in values:
            if (name, value) != ("observation", ["map"]):
                with pytest.raises((TypeError, ValueError), match=f"^{name}="):
                    make(env_id, **{name: value})
        if large is not None and name not in ("grid_size", "patch_size", "skip_cost", "look_cost"):
            with pytest.raises(ValueError, match=f"^{name}=.*(less than or equal to|at most)"):
                make(env_id, **{name: large})


def test_numbers_are_finite_and_numpys_and_a_device_are_taken_as_jsons(make):
    for name in ("frame_rate", "skip_cost"):
        for value in (float("nan"), float("inf"), -1.0):
            with pytest.raises(ValueError, match=f"^{name}="):
                make(GRID, **{name: value})
    env = make(GRID, num_frames=np.int64(2), device=torch.device("cpu"))
    assert env.unwrapped.num_decisions == 2


def test_more_rows_than_memory_holds_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 3_000_000)
    gym.make_vec(GRID, num_envs=7, device="cpu")  # each 8 frames of 37,632 bytes, maps of 9,408
    with pytest.raises(ValueError, match=r"clips of 8 videos .*: 0\.00301 GB .* fewer \(num_envs"):
        gym.make_vec(GRID, num_envs=8, device="cpu")


def test_a_device_that_networks_do_not_run_on_is_refused_in_one_line(make):
    for device in ("mps", "meta", "cpu:1", "gpu", "", "cuda:-1", "xla:0"):
        with pytest.raises(ValueError, match=f"unknown device '{device}'; use auto, cpu, cuda or"):
            make(GRID, device=device)
    with pytest.raises(ValueError, match=r"device 'cuda:99' was asked for, but torch .*; use"):
        make(GRID, device="cuda:99")


def test_a_recognizer_that_does_not_fit_is_named(make, tiny_recognizer, tmp_path):
    folder = str(tmp_path / "nothing_here")
    with pytest.raises(FileNotFoundError, match=f"no recognizer in {folder}: .*'adafocus stage1'"):
        make(GRID, recognizer=folder)

    shutil.copytree(shipped_recognizer(), tmp_path / "broken")
    (tmp_path / "broken" / "recognizer.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"broken.recognizer\.safetensors holds no"):
        make(GRID, recognizer=str(tmp_path / "broken"))

    shutil.copytree(shipped_recognizer(), tmp_path / "other")
    file = tmp_path / "other" / "recognizer.json"
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, "class_names": [str(k) for k in range(10)]}))
    with pytest.raises(ValueError, match="class 0 is '0' to the recognizer but 'digit 0' in"):
        make(GRID, recognizer=str(tmp_path / "other"))

    tiny_recognizer.save(tmp_path)
    with pytest.raises(ValueError, match="112 pixels wide but the recognizer takes 40"):
        make(GRID, recognizer=str(tmp_path))


@pytest.fixture
def data(video_folder, tmp_path):
    """Three videos of one's own in a folder that a test may change."""
    return shutil.copytree(video_folder, tmp_path / "data")


@pytest.fixture
def own_videos(tiny_recognizer, data, tmp_path):
    """Arguments of `make` for `data`."""
    tiny_recognizer.save(tmp_path / "recognizer")
    recognizer = str(tmp_path / "recognizer")
    return {"dataset": "videos", "data_dir": str(data), "recognizer": recognizer}


def test_videos_of_ones_own_give_episodes(make, own_videos):
    env = make(GRID, **own_videos)
    observation, info = env.reset(seed=0, options={"video_index": 2})
    assert env.observation_space.contains(observation)
    assert np.all(info["label"] == 2)
    actions = np.zeros_like(env.action_space.sample())
    assert [bool(np.all(env.step(actions)[2])) for _ in range(4)] == [False, False, False, True]


def test_a_bad_list_is_named_by_make(make, own_videos, data):
    (data / "val.txt").write_text("v0.mp4,12,0\nv1.mp4,12,7\n")
    with pytest.raises(ValueError, match=r"val\.txt:2: label 7 is not in 0\.\.2"):
        make(GRID, **own_videos)
    for name, near in (("list_flie", "list_file"), ("separators", "separator")):
        with pytest.raises(TypeError, match=rf"lists has no {name!r}; did you mean {near}"):
            make(GRID, lists={name: "x"}, **own_videos)
    with (data / "classes.txt").open("a") as file:
        file.write("class 3\n")
    (data / "val.txt").write_text("v0.mp4,12,0\n")
    with pytest.raises(ValueError, match=r"knows 3 classes .* videos have 4"):
        make(GRID, **own_videos)
    for name in ("val.txt", "classes.txt"):
        (data / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{data}/{name} does not exist"):
            make(GRID, **own_videos)


@pytest.mark.parametrize("media", ["videos", "frames"])
def test_a_published_data_set_gives_episodes(make, own_videos, data, media, video_frames):
    (data / "classes.txt").rename(data / "classInd.txt")
    (data / "actnet_val_split.txt").write_text("v0,12,1,0\n")
    (data / "frames" / "v0").mkdir(parents=True)
    for t, frame in enumerate(video_frames, start=1):
        cv2.imwrite(str(data / "frames" / "v0" / f"image_{t:05d}.jpg"), frame)
    env = make(GRID, **{**own_videos, "dataset": "actnet"}, media=media)
    _, info = env.reset(seed=0)
    assert np.all(info["label"] == 0)


def test_an_unreadable_video_is_named_and_never_replaced(make, own_videos, data):
    video = Path(data) / "videos" / "v1.mp4"
    env = make(GRID, **own_videos)
    for content in (None, b"", b"not a video\n" * 100):
        video.unlink() if content is None else video.write_bytes(content)
        with pytest.raises(VideoError, match=str(video)):
            env.reset(seed=0, options={"video_index": 1})
        _, info = env.reset(options={"video_index": 0})
        assert np.all(info["video_index"] == 0)
