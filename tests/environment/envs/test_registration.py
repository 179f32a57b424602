"""The ids, and what `gymnasium.make` takes."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, registry

import adafocus_env
from adafocus_env.envs import PatchLocalizationEnv, PatchLocalizationVectorEnv, shipped_recognizer

GRID = "AdaFocus/PatchLocalization-v0"
CONTINUOUS = "AdaFocus/PatchLocalizationContinuous-v0"
SKIP = "AdaFocus/PatchLocalizationSkip-v0"
ACTIVE = "AdaFocus/ActiveVision-v0"
REPOSITORY = Path(__file__).parents[3]


def _in_a_new_process(code):
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout.strip()


def test_importing_the_package_registers_the_ids_without_torch():
    code = (
        "import sys, adafocus_env, gymnasium;"
        "print([i for i in gymnasium.registry if i.startswith('AdaFocus/')],"
        " sorted({'torch', 'torchvision', 'cv2'} & set(sys.modules)))"
    )
    assert _in_a_new_process(code) == f"{[GRID, CONTINUOUS, SKIP, ACTIVE]} []"


@pytest.mark.parametrize(
    ("env_id", "action_space"),
    [
        (GRID, spaces.Discrete(49)),
        (CONTINUOUS, spaces.Box(0.0, 1.0, (2,), np.float32)),
        (SKIP, spaces.Discrete(50)),
    ],
)
def test_make_works_with_no_arguments(env_id, action_space):
    env = gym.make(env_id)
    assert isinstance(env.unwrapped, PatchLocalizationEnv)
    assert env.action_space == action_space
    assert env.observation_space == spaces.Box(0.0, 6.0, (48, 7, 7), np.float32)
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.unwrapped.core.source.num_videos == 250  # of the split val
    assert info["label"] == info["video_index"] % 10
    flags = [env.step(env.action_space.sample())[2] for _ in range(8)]
    assert flags == [False] * 7 + [True]
    if env_id == SKIP:
        _, info = env.reset()
        assert info["skip_cost"] == 0.05
        _, reward, _, _, info = env.step(49)
        assert (reward, info["skipped"]) == (0.0, True)


@pytest.mark.parametrize("env_id", [GRID, CONTINUOUS])
def test_make_vec_works_with_no_arguments_and_episodes_end_without_a_time_limit(env_id):
    env = gym.make_vec(env_id, num_envs=2)
    assert isinstance(env, PatchLocalizationVectorEnv)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(8):
        terminated = env.step(env.action_space.sample())[2]
    assert terminated.tolist() == [True, True]
    spec = gym.spec(env_id)
    assert spec.max_episode_steps is None
    assert not spec.nondeterministic
    assert not any("TimeLimit" in str(wrapper) for wrapper in spec.additional_wrappers)


def test_registering_again_leaves_the_ids_alone_and_arguments_are_keywords():
    before = {env_id: registry[env_id] for env_id in (GRID, CONTINUOUS)}
    adafocus_env.register_envs()
    assert all(registry[env_id] is spec for env_id, spec in before.items())
    with pytest.raises(TypeError, match="positional"):
        PatchLocalizationEnv("glyphs")
    with pytest.raises(TypeError, match="positional"):
        PatchLocalizationVectorEnv(2)


def test_a_spec_survives_json():
    env = gym.make(GRID, reward="prev", grid_size=5, split="test", num_frames=2, device="cpu")
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"]["grid_size"] == 5
    again = gym.make(EnvSpec.from_json(text))
    first, info = env.reset(seed=3)
    second, other_info = again.reset(seed=3)
    np.testing.assert_array_equal(first, second)
    assert info == other_info
    assert env.step(24)[1] == again.step(24)[1]


def test_each_built_in_task_has_its_own_small_shipped_recognizer():
    second = shipped_recognizer("glyphs_memory")
    assert shipped_recognizer() == shipped_recognizer("glyphs") == second.parent / "glyphs"
    assert second == shipped_recognizer("glyphs_memory_flicker") == second.parent / "glyphs_memory"
    third = shipped_recognizer("glyphs_order")
    assert third == second.parent / "glyphs_order"
    fourth = shipped_recognizer("glyphs_search")
    assert fourth == shipped_recognizer("glyphs_search_digits") == third.parent / "glyphs_search"
    for folder in (shipped_recognizer(), second, third, fourth):
        files = {file.name: file.stat().st_size for file in folder.iterdir()}
        assert files.keys() >= {"recognizer.json", "recognizer.safetensors"}
        assert sum(files.values()) < 5_000_000
    config = json.loads((shipped_recognizer() / "recognizer.json").read_text())
    assert (config["num_frames"], config["frame_size"], config["patch_size"]) == (8, 112, 32)
    assert config["glance_size"] == 28


def test_the_training_split_has_random_frames_and_the_others_do_not():
    options = {"video_index": 0}
    for rules, size, random in (
        ({"split": "train"}, 800, True),
        ({"split": "train", "augment": False}, 800, False),
        ({"split": "test"}, 500, False),
        ({"split": "val", "augment": True}, 250, True),
    ):
        env = gym.make(GRID, **rules)
        assert env.unwrapped.core.source.num_videos == size
        first, _ = env.reset(options={**options, "episode_seed": 1})
        second, _ = env.reset(options={**options, "episode_seed": 2})
        assert np.array_equal(first, second) is not random
