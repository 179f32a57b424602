"""The seed rules: what decides which video, which frames and which random looks."""

import pickle
import random
from contextlib import contextmanager

import gymnasium as gym
import numpy as np
import pytest
import torch

from adafocus_env.envs import REWARDS
from adafocus_env.seeding import Purpose, derive_episode_seed, draw_episode_seed, episode_rng

V, T = 5, 4  # of the videos in memory


def _start(env):
    start = env.core.starts[0]
    return start.video_index, start.episode_seed


def _reset(env, **arguments):
    """Video and episode seed of a new episode."""
    env.reset(**arguments)
    return _start(env)


def test_each_pass_shows_every_video_once_in_a_new_order(make_env):
    env = make_env()
    shown = [_reset(env, seed=1)[0], *(_reset(env)[0] for _ in range(4 * V - 1))]
    passes = [tuple(shown[i : i + V]) for i in range(0, 4 * V, V)]
    assert all(sorted(one) == list(range(V)) for one in passes)
    assert len(set(passes)) > 1


def test_reset_with_a_seed_begins_anew(make_env):
    env = make_env()
    first = [_reset(env, seed=2), *(_reset(env) for _ in range(7))]
    assert [_reset(env, seed=2), *(_reset(env) for _ in range(7))] == first
    assert [_reset(env, seed=3), *(_reset(env) for _ in range(7))] != first


def test_every_episode_has_a_seed_of_its_own(make_env):
    env = make_env()
    seeds = {_reset(env, seed=0 if i == 0 else None)[1] for i in range(20)}
    assert len(seeds) == 20
    assert max(seeds) > 2**62  # 64 bits


def test_a_chosen_video_leaves_the_order_and_takes_one_episode_seed(make_env):
    plain, choosing = make_env(), make_env()
    expected = [_reset(plain, seed=0), *(_reset(plain) for _ in range(4))]
    got = [_reset(choosing, seed=0)]
    got.append(_reset(choosing, options={"video_index": 3}))
    got += [_reset(choosing) for _ in range(3)]
    videos, seeds = zip(*expected, strict=True)
    assert [seed for _, seed in got] == list(seeds)
    assert [video for video, _ in got] == [videos[0], 3, videos[1], videos[2], videos[3]]
    # Also at the first reset after a seed, where the order of the pass is drawn.
    assert _reset(choosing, seed=0, options={"video_index": 3}) == (3, seeds[0])
    assert [_reset(choosing)[0] for _ in range(V)] == list(videos)


def test_a_chosen_episode_seed_leaves_the_rest_as_it_was(make_env):
    plain, choosing = make_env(), make_env()
    expected = [_reset(plain, seed=0), *(_reset(plain) for _ in range(2))]
    got = [_reset(choosing, seed=0), _reset(choosing, options={"episode_seed": 77})]
    assert [*got, _reset(choosing)] == [expected[0], (expected[1][0], 77), expected[2]]


@pytest.mark.parametrize(
    "rules", [{"reward": "expected"}, {"reward": "conf"}, {"baseline_positions": "grid"}], ids=str
)
def test_another_reward_leaves_videos_frames_and_confidences_as_they_are(make_env, rules):
    default, other = make_env(), make_env(**rules)
    baselines = []
    for episode in range(V + 1):
        seed = 4 if episode == 0 else None
        first, info = default.reset(seed=seed)
        second, other_info = other.reset(seed=seed)
        assert info == other_info
        assert _start(default) == _start(other)
        for t in range(T):
            np.testing.assert_array_equal(first, second)
            one, two = (env.core.features.frame(0, t) for env in (default, other))
            np.testing.assert_array_equal(one, two)
            first, _, _, _, info = default.step(7 * t)
            second, _, _, _, other_info = other.step(7 * t)
            assert info["confidence"] == pytest.approx(other_info["confidence"], abs=1e-5)
            baselines.append((info["baseline_confidence"], other_info["baseline_confidence"]))
    assert sum(one != another for one, another in baselines) > T * V / 2


def _global_states():
    """The states of Python's, numpy's and torch's global generators."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "random": random.getstate(),
        "numpy": pickle.dumps(numpy_state),
        "torch": torch.get_rng_state().tolist(),
    }


@contextmanager
def _untouched_generators():
    """Fails if something within draws from a global generator or seeds one."""
    before = _global_states()
    yield
    touched = [name for name, state in _global_states().items() if state != before[name]]
    assert touched == []


@pytest.mark.parametrize("reward", REWARDS)
def test_episodes_touch_no_global_generator(make_env, make_vector_env, reward):
    with _untouched_generators():
        env, rows = make_env(reward=reward), make_vector_env(2, reward=reward)
        for seed in (0, None):
            env.reset(seed=seed)
            for t in range(T):
                env.step(t)
            rows.reset(seed=seed)
            rows.play(np.zeros((2, T), np.int64))


def test_making_environments_and_drawing_or_reading_their_videos_touches_no_global_generator(
    video_folder, tiny_recognizer, tmp_path
):
    tiny_recognizer.save(tmp_path)
    files = {"dataset": "videos", "data_dir": str(video_folder), "recognizer": str(tmp_path)}
    for rules in ({}, files):
        with _untouched_generators():
            env = gym.make("AdaFocus/PatchLocalization-v0", split="train", **rules)
            first, _ = env.reset(seed=0)
            env.step(0)
            again, _ = env.reset(seed=0)
        np.testing.assert_array_equal(first, again)


def test_purposes_have_independent_streams_by_their_numbers():
    # The numbers enter the seeds: another one for these would be another environment version.
    streams = (Purpose.FRAMES, Purpose.CROP, Purpose.FLIP, Purpose.BASELINE)
    assert [int(purpose) for purpose in streams] == [0, 1, 2, 3]
    drawn = {purpose: tuple(episode_rng(9, purpose).integers(0, 2**32, 4)) for purpose in Purpose}
    assert len(set(drawn.values())) == len(Purpose)
    expected = np.random.default_rng(np.random.SeedSequence([9, 3])).integers(0, 2**32, 4)
    assert drawn[Purpose.BASELINE] == tuple(expected)


def test_derived_seeds_belong_to_their_keys_alone():
    seeds = {derive_episode_seed(s, v, d) for s in range(3) for v in range(20) for d in range(3)}
    assert len(seeds) == 180
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert derive_episode_seed(1, 2, 0) == derive_episode_seed(1, 2, 0)
    assert type(derive_episode_seed(1, 2, 0)) is int


def test_drawing_an_episode_seed_takes_one_64_bit_draw():
    rng, other = np.random.default_rng(0), np.random.default_rng(0)
    seeds = [draw_episode_seed(rng) for _ in range(200)]
    assert seeds == other.integers(0, 2**64, 200, dtype=np.uint64).tolist()
    assert 0 <= min(seeds) < 2**60
    assert 2**63 < max(seeds) < 2**64
