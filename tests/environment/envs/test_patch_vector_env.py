"""PatchLocalizationVectorEnv: rows equal single environments, and Gymnasium's own vectors."""

import copy
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from adafocus_env.envs import REWARDS, PatchLocalizationVectorEnv

IDS = ["AdaFocus/PatchLocalization-v0", "AdaFocus/PatchLocalizationContinuous-v0"]
ON_CPU = {"device": "cpu"}  # where batches of any size give numbers within 1e-5
REPOSITORY = Path(__file__).parents[3]


def _actions(env, steps, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


def _row(infos, row):
    """One row's info as the single environment gives it."""
    result = {}
    for name, values in infos.items():
        if name.startswith("_") or not infos[f"_{name}"][row]:
            continue
        if isinstance(values, dict):
            result[name] = _row(values, row)
        elif name == "final_obs" or values.ndim > 1:
            result[name] = values[row]
        else:
            result[name] = values[row].item()
    return result


def _assert_rows_equal_single_environments_over_two_episodes(rows, singles, assert_equal):
    steps = rows.num_decisions
    observations, infos = rows.reset(seed=20)
    for i, env in enumerate(singles):
        assert_equal((observations[i], _row(infos, i)), env.reset(seed=20 + i))
    for t, actions in enumerate(_actions(rows, 2 * steps)):
        observations, rewards, terminated, truncated, infos = rows.step(actions)
        for i, env in enumerate(singles):
            observation, reward, over, _, info = env.step(actions[i])
            assert float(rewards[i]) == pytest.approx(reward, rel=0, abs=1e-5)
            assert bool(terminated[i]) is over is ((t + 1) % steps == 0)
            assert not truncated[i]
            row = _row(infos, i)
            if over:
                assert_equal((row.pop("final_obs"), row.pop("final_info")), (observation, info))
                observation, info = env.reset()
            assert_equal((observations[i], row), (observation, info))


@pytest.mark.parametrize(
    ("reward", "locations"),
    [*((name, "grid") for name in REWARDS), ("random", "continuous"), ("skip", "skip")],
)
def test_row_i_equals_the_single_environment_seeded_with_seed_plus_i(
    make_env, make_vector_env, assert_equal, reward, locations
):
    rows = make_vector_env(3, reward=reward, locations=locations)
    singles = [make_env(reward=reward, locations=locations) for _ in range(3)]
    _assert_rows_equal_single_environments_over_two_episodes(rows, singles, assert_equal)


def test_rows_of_built_in_videos_equal_single_environments(glyph_recognizer_folder, assert_equal):
    rules = {"recognizer": str(glyph_recognizer_folder), "split": "train", **ON_CPU}
    rows = gym.make_vec(IDS[1], num_envs=2, **rules)
    singles = [gym.make(IDS[1], **rules).unwrapped for _ in range(2)]
    _assert_rows_equal_single_environments_over_two_episodes(rows, singles, assert_equal)


@pytest.mark.parametrize("env_id", IDS)
def test_native_make_vec_equals_sync_with_all_infos_and_masks(
    env_id, glyph_recognizer_folder, assert_equal
):
    rules = {"recognizer": str(glyph_recognizer_folder), "num_frames": 3, **ON_CPU}
    native = gym.make_vec(env_id, num_envs=3, **rules)
    sync = gym.make_vec(
        env_id,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **rules,
    )
    assert isinstance(native, PatchLocalizationVectorEnv)
    assert isinstance(sync, SyncVectorEnv)
    assert native.metadata == sync.metadata
    for space in ("observation_space", "action_space", "single_observation_space"):
        assert getattr(native, space) == getattr(sync, space)
    assert_equal(native.reset(seed=9), sync.reset(seed=9))
    for actions in _actions(native, 7):
        one, other = native.step(actions), sync.step(actions)
        assert_equal(one, other)
        assert one[1].dtype == np.float64
    assert_equal(native.reset(), sync.reset())


def _sync(make_env, num_envs, mode, **rules):
    return SyncVectorEnv([lambda: make_env(**rules)] * num_envs, autoreset_mode=mode)


def _mask(*rows):
    mask = np.zeros(3, dtype=np.bool_)
    mask[list(rows)] = True
    return mask


def test_rows_out_of_lock_step_equal_sync_under_same_step(make_env, make_vector_env, assert_equal):
    native = make_vector_env(3)
    sync = _sync(make_env, 3, AutoresetMode.SAME_STEP)
    assert_equal(native.reset(seed=1), sync.reset(seed=1))
    actions = _actions(native, 12)
    ended = []
    for t, action in enumerate(actions):
        if t in (1, 3):  # row 1 begins anew after one step, row 2 after three
            options = {"reset_mask": _mask(t // 2 + 1)}
            begun = native.reset(seed=50 + t, options=dict(options))
            assert_equal(begun, sync.reset(seed=50 + t, options=dict(options)))
        one, other = native.step(action), sync.step(action)
        assert_equal(one, other)
        ended.append(one[2].tolist())
    assert [t for t, flags in enumerate(ended) if any(flags)] == [3, 4, 6, 7, 8, 10, 11]


def test_rows_out_of_lock_step_equal_sync_under_disabled(make_env, make_vector_env, assert_equal):
    native = make_vector_env(3, autoreset_mode="disabled")
    sync = _sync(make_env, 3, AutoresetMode.DISABLED)
    assert native.metadata == sync.metadata
    assert_equal(native.reset(seed=1), sync.reset(seed=1))
    over = np.zeros(3, dtype=np.bool_)
    ended = []
    for t, action in enumerate(_actions(native, 12)):
        mask = over | (_mask(1) if t == 2 else False)
        if mask.any():
            begun = native.reset(options={"reset_mask": mask.copy()})
            assert_equal(begun, sync.reset(options={"reset_mask": mask.copy()}))
        one, other = native.step(action), sync.step(action)
        assert_equal(one, other)
        over = one[2]
        ended.append(over.tolist())
    assert ended[3] == [True, False, True]
    assert ended[5] == [False, True, False]


def test_under_disabled_an_ended_row_must_be_reset_before_the_next_step(
    make_vector_env, assert_equal
):
    env, undisturbed = (make_vector_env(3, autoreset_mode="disabled") for _ in range(2))
    actions = _actions(env, 8)
    for other in (env, undisturbed):
        other.reset(seed=0)
        other.step(actions[0])
        other.reset(options={"reset_mask": _mask(1)})
        for t in (1, 2, 3):
            other.step(actions[t])
    with pytest.raises(ResetNeeded, match=r"rows \[0, 2\] are over; reset them"):
        env.step(actions[4])
    for other in (env, undisturbed):
        other.reset(options={"reset_mask": _mask(0, 2)})
    assert_equal(env.step(actions[4]), undisturbed.step(actions[4]))


def test_autoreset_mode_is_a_name_or_gymnasiums_own_and_no_other(make_vector_env):
    for mode in (AutoresetMode.DISABLED, "DISABLED", "disabled"):
        env = make_vector_env(2, autoreset_mode=mode)
        assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert make_vector_env(2).metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert "autoreset_mode" not in PatchLocalizationVectorEnv.metadata
    for mode in (AutoresetMode.NEXT_STEP, "next_step", "sometimes"):
        with pytest.raises(ValueError, match="'same_step' or 'disabled', not"):
            make_vector_env(2, autoreset_mode=mode)


def test_a_bad_reset_mask_is_refused_as_gymnasium_refuses_it(make_env, make_vector_env):
    for env in (make_vector_env(3), _sync(make_env, 3, AutoresetMode.SAME_STEP)):
        env.reset(seed=0)
        for mask, error in (
            ([True, False, True], TypeError),
            (np.array([1, 0, 1]), TypeError),
            (np.array([True, False]), ValueError),
            (np.ones((3, 1), dtype=np.bool_), ValueError),
            (np.zeros(3, dtype=np.bool_), ValueError),
        ):
            with pytest.raises(error, match="reset_mask"):
                env.reset(options={"reset_mask": mask})


def test_video_index_is_one_for_all_rows_or_one_for_each(make_vector_env):
    env = make_vector_env(3)
    for chosen, shown in ((4, [4, 4, 4]), (np.array([2, 0, 2]), [2, 0, 2]), ([1, 3, 0], [1, 3, 0])):
        _, infos = env.reset(options={"video_index": chosen})
        assert infos["video_index"].tolist() == shown
        assert infos["label"].tolist() == [index % 3 for index in shown]
    options = {"video_index": np.array([4, 4, 4]), "reset_mask": _mask(1)}
    _, infos = env.reset(options=options)
    assert options.keys() == {"reset_mask", "video_index"}  # the caller's, as they were
    assert infos["video_index"].tolist() == [0, 4, 0]
    assert infos["_video_index"].tolist() == [False, True, False]
    _, _, _, _, infos = env.step(np.zeros(3, dtype=np.int64))
    assert infos["video_index"].tolist() == [1, 4, 0]


def test_reset_takes_episode_seeds_of_64_bits_for_each_row_and_refuses_bad_options(make_vector_env):
    env = make_vector_env(3)
    large = [1, 2**63, 2**64 - 1]  # numpy makes these floats, unless told otherwise
    for seeds in ([1, 2, 3], np.array([1, 2**63, 3], dtype=np.uint64), large):
        env.reset(options={"episode_seed": seeds})
        assert [start.episode_seed for start in env.core.starts] == [int(seed) for seed in seeds]
    for options, error, message in (
        ({"videos": 1}, ValueError, r"unknown reset options \['videos'\]; known are .*reset_mask"),
        ({"video_index": [0, 1]}, ValueError, r"an integer or an \(3,\) integer array"),
        ({"video_index": [0.0, 1.0, 2.0]}, ValueError, "integer array"),
        ({"video_index": [0, 1, -1]}, ValueError, "0 or more"),
        ({"video_index": [0, 1, 5]}, IndexError, r"video_index 5 is not in 0\.\.4"),
    ):
        with pytest.raises(error, match=message):
            env.reset(seed=0, options=options)


def test_a_row_without_a_seed_of_its_own_goes_on_in_its_order(make_vector_env, assert_equal):
    one, other = make_vector_env(3), make_vector_env(3)
    assert_equal(one.reset(seed=8), other.reset(seed=[8, 9, 10]))
    with pytest.raises(ValueError, match="expected 3 seeds, one a row, got 2"):
        one.reset(seed=[1, 2])

    one, other = make_vector_env(2), make_vector_env(2)
    one.reset(seed=0)
    other.reset(seed=0)
    for _ in range(6):
        _, expected = one.reset()
        _, infos = other.reset(seed=[3, None])
        assert infos["video_index"][1] == expected["video_index"][1]


@pytest.mark.parametrize(
    ("locations", "bad"),
    [
        ("grid", [[0, 49], [0, -1], [0], 0, [[0, 0]], [0.0, 0.0]]),
        ("continuous", [[[0, 0], [0, 1.5]], [[0, 0], [np.nan, 0.5]], [0.0, 0.0], [[0.0, 0.0]]]),
    ],
    ids=["grid", "continuous"],
)
def test_bad_actions_of_a_vector_are_refused_before_anything_happens(
    make_vector_env, locations, bad
):
    env = make_vector_env(2, locations=locations)
    env.reset(seed=0)
    for actions in map(np.array, bad):
        for take in (env.step, env.play):
            with pytest.raises(InvalidAction):
                take(actions)
    assert env.core.steps.tolist() == [0, 0]


def test_a_vector_step_needs_a_reset(make_vector_env):
    env = make_vector_env(2)
    for call in (
        lambda: env.step(np.zeros(2, dtype=np.int64)),
        lambda: env.play(np.zeros((2, 4), dtype=np.int64)),
        env.observe_episode,
    ):
        with pytest.raises(ResetNeeded, match="call reset first"):
            call()


def test_what_a_vector_returns_is_new_each_time(make_vector_env, assert_equal):
    env, other = make_vector_env(2), make_vector_env(2)
    returned = [env.reset(seed=0)]
    other.reset(seed=0)
    actions = _actions(env, 8)
    for action in actions:
        returned.append(env.step(action))
        saved = copy.deepcopy(returned[-1])
        for earlier in returned:
            _overwrite(earlier)
        assert_equal(saved, other.step(action))
    env.reset(seed=0)
    for action in actions[:4]:
        observations, _, _, _, infos = env.step(action)
    assert not np.array_equal(infos["final_obs"][0], observations[0])
    assert not any(np.shares_memory(final, observations) for final in infos["final_obs"])


def _overwrite(value):
    if isinstance(value, np.ndarray):
        value[...] = None if value.dtype == object else 1
    elif isinstance(value, dict):
        for item in value.values():
            _overwrite(item)
    elif isinstance(value, tuple):
        for item in value:
            _overwrite(item)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["deepcopy", "pickle"],
)
def test_a_copied_vector_goes_on_in_the_same_way(make_vector_env, assert_equal, copied):
    env = make_vector_env(2)
    env.reset(seed=0)
    actions = _actions(env, 12)
    env.step(actions[0])
    other = copied(env)
    for action in actions[1:]:
        assert_equal(env.step(action), other.step(action))


def test_vector_rendering_needs_a_mode(make_vector_env):
    env = make_vector_env(2)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert env.render() is None
    with pytest.raises(ValueError, match="None or 'rgb_array', not 'human'"):
        make_vector_env(2, render_mode="human")


ASYNC = """
import gymnasium as gym, numpy as np, sys
import adafocus_env
from gymnasium.vector import AutoresetMode
if __name__ == "__main__":
    env_id, recognizer = sys.argv[1:]
    rules = dict(num_envs=2, recognizer=recognizer, num_frames=2, device="cpu")
    native = gym.make_vec(env_id, **rules)
    actions = native.action_space.sample() * 0
    expected = [native.reset(seed=4), *(native.step(actions) for _ in range(4))]
    env = gym.make_vec(
        env_id,
        vectorization_mode="async",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **rules,
    )
    got = [env.reset(seed=4), *(env.step(actions) for _ in range(4))]
    for one, other in zip(got, expected):
        np.testing.assert_allclose(one[0], other[0], atol=1e-5)
        for name in ("video_index", "label", "frame_index"):
            np.testing.assert_array_equal(one[-1][name], other[-1][name])
        if len(one) == 5:
            np.testing.assert_allclose(one[1], other[1], atol=1e-5)
            np.testing.assert_array_equal(one[2], other[2])
    env.close()
    print("equal")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="uses process groups")
def test_async_workers_do_not_hang_and_equal_the_native_vector(glyph_recognizer_folder):
    # Forked after this process has used torch's threads, as every user's is: `make_vec` itself
    # makes one environment before it forks.
    process = subprocess.Popen(
        [sys.executable, "-c", ASYNC, IDS[0], str(glyph_recognizer_folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail("AsyncVectorEnv hangs: forked workers wait for torch threads they do not have")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert out.strip() == "equal", errors
