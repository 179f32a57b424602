"""Sb3VecEnvAdapter: a Gymnasium vector environment behaves as SB3's own vectors do."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.sb3.vec_env import Sb3VecEnvAdapter

N, T = 3, 4


def _actions(env, steps):
    env.action_space.seed(0)
    return [np.stack([env.action_space.sample() for _ in range(N)]) for _ in range(steps)]


@pytest.mark.parametrize(("locations", "observation"), [("grid", "map"), ("continuous", "vector")])
def test_it_equals_sb3s_own_vector_of_single_environments(
    make_adapter, make_env, assert_equal, locations, observation
):
    rules = {"locations": locations, "observation": observation}
    adapter = make_adapter(N, **rules)
    own = DummyVecEnv([lambda: make_env(**rules)] * N)
    assert adapter.observation_space == own.observation_space
    assert adapter.action_space == own.action_space
    assert adapter.num_envs == own.num_envs
    for env in (adapter, own):
        env.seed(20)
    assert_equal(adapter.reset(), own.reset())
    assert_equal(adapter.reset_infos, own.reset_infos)
    for t, actions in enumerate(_actions(adapter, 2 * T)):
        (obs, rewards, dones, infos), (own_obs, own_rewards, own_dones, own_infos) = (
            env.step(actions) for env in (adapter, own)
        )
        for info in infos:  # SB3 reads it with the default False
            info.setdefault("TimeLimit.truncated", False)
        assert_equal((obs, rewards, dones), (own_obs, own_rewards, own_dones))
        assert_equal(infos, own_infos)
        assert dones.tolist() == [t % T == T - 1] * N
        assert_equal(adapter.reset_infos, own.reset_infos)


def test_an_episode_cut_by_a_time_limit_is_marked_as_truncated(cue_env):
    made = [lambda: TimeLimit(cue_env(num_steps=5), 2), lambda: cue_env(num_steps=2)]
    env = Sb3VecEnvAdapter(SyncVectorEnv(made, autoreset_mode=AutoresetMode.SAME_STEP))
    env.reset()
    env.step(np.zeros(2, np.int64))
    _, _, dones, infos = env.step(np.zeros(2, np.int64))
    assert dones.tolist() == [True, True]
    assert [info["TimeLimit.truncated"] for info in infos] == [True, False]
    assert [info["terminal_observation"].shape for info in infos] == [(4, 1, 1)] * 2


def test_seeds_are_used_once(make_adapter):
    env = make_adapter(N, reward="random")
    env.seed(3)
    first = env.reset().copy()
    second = env.reset().copy()
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), first)
    np.testing.assert_array_equal(env.reset(), second)
    assert np.abs(first - second).max() > 1e-3


def test_options_are_used_once_and_may_differ_by_row_but_not_be_unknown_or_left_out(
    make_adapter, make_videos
):
    env = make_adapter(N, videos=make_videos(64))
    for videos in ([2, 2, 2], [1, 4, 1]):
        same = {"video_index": 2, "episode_seed": 9}
        env.set_options(same if videos[0] == 2 else [{"video_index": v} for v in videos])
        env.reset()
        assert [info["video_index"] for info in env.reset_infos] == videos
        env.reset()
        assert [info["video_index"] for info in env.reset_infos] != videos
    env.set_options([{"video_index": 1}, {}, {"video_index": 2}])
    with pytest.raises(ValueError, match="'video_index' must be given for every row or for none"):
        env.reset()
    env.set_options({"video": 1})
    with pytest.raises(ValueError, match=r"unknown reset options \['video'\]"):
        env.reset()


def test_attributes_are_given_for_each_index_and_set_for_all_rows_or_not_at_all(make_adapter):
    env = make_adapter(N)
    for indices, count in ((None, 3), (0, 1), ([0, 2], 2)):
        assert env.get_attr("num_decisions", indices) == [T] * count
        assert env.get_attr("num_videos", indices) == [5] * count
    with pytest.raises(AttributeError, match="num_patches"):
        env.get_attr("num_patches")
    env.set_attr("note", 7)
    assert env.get_attr("note") == [7] * N
    with pytest.raises(ValueError, match="the rows share one environment"):
        env.set_attr("note", 8, indices=[0])
    assert env.get_attr("note") == [7] * N


def test_a_method_is_called_once_for_all_rows(make_adapter):
    env = make_adapter(N)
    calls = []
    env.set_attr("call", lambda *args, **kwargs: (calls.append((args, kwargs)), 5)[1])
    assert env.env_method("call", 1, key=2) == [5] * N
    assert calls == [((1,), {"key": 2})]
    with pytest.raises(ValueError, match="the rows share one environment"):
        env.env_method("call", indices=[1])
    env.env_method("schedule_videos", [3, 1, 3])
    env.reset()
    assert [info["video_index"] for info in env.reset_infos] == [3, 1, 3]
    assert env.env_is_wrapped(TimeLimit) == [False] * N
    assert env.env_is_wrapped(TimeLimit, indices=[1]) == [False]


def test_images_are_drawn_one_a_row_and_tiled(make_adapter):
    env = make_adapter(N, render_mode="rgb_array")
    env.reset()
    images = env.get_images()
    assert len(images) == N
    for image in images:
        assert (image.dtype, image.shape) == (np.uint8, images[0].shape)
    tiled = env.render()
    assert tiled.shape[0] >= images[0].shape[0]


def test_it_plays_episodes_where_the_environment_can(make_adapter, cue_env, assert_equal):
    adapter, twin = make_adapter(N), make_adapter(N)
    assert adapter.plays_episodes
    for env in (adapter, twin):
        env.seed(4)
    observations = torch.from_numpy(adapter.reset())
    twin.reset()
    torch.testing.assert_close(adapter.observe_episode()[:, 0], observations)
    actions = np.stack(_actions(adapter, T), axis=1)
    played = adapter.play(actions)
    for t in range(T):
        after, rewards, _, _ = twin.step(actions[:, t])
        np.testing.assert_allclose(played.rewards[:, t], rewards, atol=1e-5)
    assert_equal(adapter.observe_episode()[:, 0].numpy(), after)
    rows = SyncVectorEnv([cue_env], autoreset_mode=AutoresetMode.SAME_STEP)
    assert not Sb3VecEnvAdapter(rows).plays_episodes


def test_other_autoreset_modes_than_same_step_are_refused_and_closing_closes(
    cue_env, make_vector_env
):
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        rows = SyncVectorEnv([cue_env] * 2, autoreset_mode=mode)
        with pytest.raises(ValueError, match=f"SAME_STEP, and this environment has .*{mode.name}"):
            Sb3VecEnvAdapter(rows)
    with pytest.raises(ValueError, match="SAME_STEP"):
        Sb3VecEnvAdapter(make_vector_env(2, autoreset_mode="disabled"))
    rows = SyncVectorEnv([cue_env], autoreset_mode=AutoresetMode.SAME_STEP)
    adapter = Sb3VecEnvAdapter(rows)
    adapter.close()
    assert rows.closed
    with pytest.raises(ValueError, match=r"one environment; make many with gymnasium\.make_vec"):
        Sb3VecEnvAdapter(cue_env())
    rows.metadata = {}
    with pytest.raises(ValueError, match="SAME_STEP, and this environment has None"):
        Sb3VecEnvAdapter(rows)
