"""Closed loops, vector environments beside Gymnasium's own, and an episode step by step."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from adafocus_env.envs import ActiveVisionEnv, ActiveVisionVectorEnv, PatchLocalizationVectorEnv


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


@pytest.fixture
def sample_actions():
    """Actions of some steps; where an action skips, a third of them do."""

    def sample(env, steps, seed=0):
        env.action_space.seed(seed)
        actions = [env.action_space.sample() for _ in range(steps)]
        if env.core.can_skip:
            return [np.where(action % 3 == 0, 49, action) for action in actions]
        return actions

    return sample


@pytest.fixture
def assert_equal_to_sync(assert_equal, sample_actions):
    """All that two episodes give, infos and masks too, of a native vector and Gymnasium's own."""

    def compare(native, sync):
        assert isinstance(native, PatchLocalizationVectorEnv)
        assert isinstance(sync, SyncVectorEnv)
        assert native.metadata == sync.metadata
        for space in ("observation_space", "action_space", "single_observation_space"):
            assert getattr(native, space) == getattr(sync, space)
        assert_equal(native.reset(seed=9), sync.reset(seed=9))
        steps = native.num_decisions
        between = native.autoreset_mode == AutoresetMode.NEXT_STEP  # a step without a look
        for t, actions in enumerate(sample_actions(native, 2 * (steps + between))):
            one, other = native.step(actions), sync.step(actions)
            assert_equal(one, other)
            assert one[1].dtype == np.float64
            assert one[2].tolist() == [t % (steps + between) == steps - 1] * native.num_envs
        assert_equal(native.reset(), sync.reset())

    return compare


@pytest.fixture
def step_through():
    """An episode of all rows step by step: `rewards` and `infos` as `play` gives them."""

    def step(env, actions):
        rewards, infos = [], []
        for action in np.moveaxis(actions, 1, 0):
            _, reward, terminated, truncated, info = env.step(action)
            assert set(terminated.tolist()) == {len(infos) == env.num_decisions - 1}
            assert not truncated.any()
            rewards.append(reward)
            infos.append(info.get("final_info", info))
        names = [name for name in infos[0] if not name.startswith("_")]
        stacked = {name: np.stack([info[name] for info in infos], axis=1) for name in names}
        return np.stack(rewards, axis=1), {**stacked, "is_success": infos[-1]["is_success"]}

    return step
