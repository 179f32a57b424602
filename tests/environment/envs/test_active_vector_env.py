"""ActiveVisionVectorEnv: rows equal single environments, a bank live ones, `run` stepping."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from adafocus_env.envs import (
    OBSERVATIONS,
    ActiveVisionVectorEnv,
    PatchGrid,
)

STOP = 49


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


def test_whole_episodes_are_refused_with_the_way_to_step(make_loops):
    env = make_loops(2)
    env.reset(seed=0)
    with pytest.raises(TypeError, match=r"cannot be observed in advance.* run\(act\)"):
        env.observe_episode()
    with pytest.raises(TypeError, match="cannot be played from actions chosen in advance"):
        env.play(np.zeros((2, 4), int))


def test_make_vec_makes_the_native_vector():
    envs = gym.make_vec("AdaFocus/ActiveVision-v0", num_envs=2, num_frames=2, looks_per_frame=2)
    assert isinstance(envs, ActiveVisionVectorEnv)
    assert envs.num_decisions == 4
