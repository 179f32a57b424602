"""PatchLocalizationVectorEnv: equals Gymnasium's own vectors of single environments."""

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
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics as PerEnvironment
from gymnasium.wrappers.vector import (
    FlattenObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
)

from adafocus_env.envs import REWARDS, PatchLocalizationVectorEnv

IDS = ["AdaFocus/PatchLocalization-v0", "AdaFocus/PatchLocalizationContinuous-v0"]
ON_CPU = {"device": "cpu"}  # where batches of any size give numbers within 1e-5
REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_native_make_vec_equals_sync(env_id, mode, glyph_recognizer_folder, assert_equal_to_sync):
    rules = {"recognizer": str(glyph_recognizer_folder), "num_frames": 3, **ON_CPU}
    sync = {"vector_kwargs": {"autoreset_mode": mode}}
    assert_equal_to_sync(
        gym.make_vec(env_id, num_envs=3, autoreset_mode=mode, **rules),
        gym.make_vec(env_id, num_envs=3, vectorization_mode="sync", **sync, **rules),
    )


def _sync(make_env, num_envs, mode, **rules):
    return SyncVectorEnv([lambda: make_env(**rules)] * num_envs, autoreset_mode=mode)


@pytest.mark.parametrize(
    "rules",
    [
        *({"reward": name} for name in REWARDS),
        {"locations": "continuous"},
        *({"reward": "skip", "locations": "skip", "skip_cost": c} for c in (0.125, "random")),
    ],
    ids=str,
)
def test_row_i_equals_the_single_environment_seeded_with_seed_plus_i(
    make_env, make_vector_env, assert_equal_to_sync, rules
):
    sync = _sync(make_env, 3, AutoresetMode.SAME_STEP, **rules)
    assert_equal_to_sync(make_vector_env(3, **rules), sync)


def _mask(*rows):
    mask = np.zeros(3, dtype=np.bool_)
    mask[list(rows)] = True
    return mask


def test_rows_out_of_lock_step_equal_sync_under_same_step(
    make_env, make_vector_env, assert_equal, sample_actions
):
    native = make_vector_env(3)
    sync = _sync(make_env, 3, AutoresetMode.SAME_STEP)
    assert_equal(native.reset(seed=1), sync.reset(seed=1))
    actions = sample_actions(native, 12)
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


def test_rows_out_of_lock_step_equal_sync_under_next_step(
    make_env, make_vector_env, assert_equal, sample_actions
):
    rules = {"locations": "skip", "reward": "prev", "render_mode": "rgb_array"}
    native = make_vector_env(3, autoreset_mode="next_step", **rules)
    sync = _sync(make_env, 3, AutoresetMode.NEXT_STEP, **rules)
    assert_equal(native.reset(seed=1), sync.reset(seed=1))
    ended = []
    for t, action in enumerate(sample_actions(native, 14)):
        if t in (2, 4):  # row 1 begins anew in an episode, row 2 where it waits for the next
            options = {"reset_mask": _mask(t // 2)}
            assert_equal(native.reset(options=dict(options)), sync.reset(options=dict(options)))
        one, other = native.step(action), sync.step(action)
        assert_equal(one, other)
        assert_equal(native.render(), sync.render())
        ended.append("".join("x" if flag else "." for flag in one[2]))
    assert " ".join(ended) == "... ... ... x.x ... .x. ... ..x x.. ... .x. ... ..x x.."


def test_wrappers_of_gymnasium_that_need_the_next_step_go_around_it(make_vector_env):
    env = make_vector_env(2, autoreset_mode="next_step")
    env = NormalizeObservation(FlattenObservation(RecordEpisodeStatistics(env)))
    observations, _ = env.reset(seed=0)
    assert observations.shape == (2, *env.single_observation_space.shape)
    total = np.zeros(2)
    for t in range(5):
        observations, rewards, _, _, infos = env.step(np.array([3, 24]))
        assert np.isfinite(observations).all()
        assert ("episode" in infos) == (t == 3)
        total += rewards
        if t == 3:
            np.testing.assert_allclose(infos["episode"]["r"], total)
            assert infos["episode"]["l"].tolist() == [4, 4]
    assert rewards.tolist() == [0.0, 0.0]


def test_statistics_stand_where_the_manual_says(make_env, make_vector_env):
    single = lambda: PerEnvironment(make_env())  # noqa: E731
    for mode, inner in ((AutoresetMode.SAME_STEP, "final_info"), (AutoresetMode.NEXT_STEP, None)):
        native = RecordEpisodeStatistics(make_vector_env(2, autoreset_mode=mode))
        sync = SyncVectorEnv([single] * 2, autoreset_mode=mode)
        for env, place in ((native, None), (sync, inner)):
            env.reset(seed=0)
            for _ in range(4):
                infos = env.step(np.array([3, 24]))[4]
            assert (infos if place is None else infos[place])["episode"]["l"].tolist() == [4, 4]


def test_every_action_is_possible_and_places_are_not_numbered(make_env, make_vector_env):
    for locations, count in (("grid", 49), ("skip", 50)):
        env, envs = make_env(locations=locations), make_vector_env(3, locations=locations)
        assert (env.action_masks().shape, envs.action_masks().shape) == ((count,), (3, count))
        assert env.action_masks().all()
        assert envs.action_masks().all()
    with pytest.raises(TypeError, match="action_masks is for numbered actions"):
        make_env(locations="continuous").action_masks()


def test_rows_out_of_lock_step_equal_sync_under_disabled(
    make_env, make_vector_env, assert_equal, sample_actions
):
    native = make_vector_env(3, autoreset_mode="disabled")
    sync = _sync(make_env, 3, AutoresetMode.DISABLED)
    assert native.metadata == sync.metadata
    assert_equal(native.reset(seed=1), sync.reset(seed=1))
    over = np.zeros(3, dtype=np.bool_)
    ended = []
    for t, action in enumerate(sample_actions(native, 12)):
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


def test_autoreset_mode_is_a_name_or_gymnasiums_own_and_no_other(make_vector_env):
    for mode in (AutoresetMode.DISABLED, "DISABLED", "disabled"):
        env = make_vector_env(2, autoreset_mode=mode)
        assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert make_vector_env(2).metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert "autoreset_mode" not in PatchLocalizationVectorEnv.metadata
    for mode in ("sometimes", None, 3):
        with pytest.raises(ValueError, match="'same_step', 'next_step' or 'disabled', not"):
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


def test_what_a_vector_returns_is_new_each_time(make_vector_env, assert_equal, sample_actions):
    env, other = make_vector_env(2), make_vector_env(2)
    returned = [env.reset(seed=0)]
    other.reset(seed=0)
    actions = sample_actions(env, 8)
    for action in actions:
        returned.append(env.step(action))
        saved = copy.deepcopy(returned[-1])
        for earlier in returned:
            _overwrite(earlier)
        assert_equal(saved, other.step(action))
        if "final_obs" in saved[4]:
            assert not np.array_equal(saved[4]["final_obs"][0], saved[0][0])


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
def test_a_copied_vector_goes_on_in_the_same_way(
    make_vector_env, assert_equal, copied, sample_actions
):
    env = make_vector_env(2, render_mode="rgb_array")
    env.reset(seed=0)
    actions = sample_actions(env, 24)  # beyond one pass over the videos
    env.step(actions[0])
    other = copied(env)
    for action in actions[1:]:
        assert_equal(env.step(action), other.step(action))
    assert_equal(env.render(), other.render())


ASYNC = """
import gymnasium as gym, numpy as np, sys
import adafocus_env
from gymnasium.vector import AutoresetMode
if __name__ == "__main__":
    env_id, recognizer = sys.argv[1:]
    rules = dict(num_envs=2, recognizer=recognizer, num_frames=2, device="cpu")
    native = gym.make_vec(env_id, **rules)
    actions = native.action_space.sample() * 0
    rules["vector_kwargs"] = {"autoreset_mode": AutoresetMode.SAME_STEP}
    env = gym.make_vec(env_id, vectorization_mode="async", **rules)
    np.testing.assert_allclose(env.reset(seed=4)[0], native.reset(seed=4)[0], atol=1e-5)
    for _ in range(4):
        one, other = env.step(actions), native.step(actions)
        for got, expected in zip(one[:4], other[:4]):
            np.testing.assert_allclose(got, expected, atol=1e-5)
        for name in ("video_index", "label", "frame_index"):
            np.testing.assert_array_equal(one[4][name], other[4][name])
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
