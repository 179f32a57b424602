"""Whole episodes at once: `observe_episode`, `play`, `schedule_videos`."""

import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction

N, T = 3, 4


@pytest.mark.parametrize(
    "rules",
    [
        {"reward": "random"},
        {"baseline_positions": "grid", "locations": "continuous"},
        {"reward": "expected", "locations": "continuous", "autoreset_mode": "disabled"},
        {"reward": "prev", "locations": "skip", "autoreset_mode": "disabled"},
    ],
    ids=str,
)
def test_playing_two_episodes_equals_stepping_through_them(
    make_vector_env, assert_equal, sample_actions, step_through, rules
):
    playing, stepping = make_vector_env(N, **rules), make_vector_env(N, **rules)
    assert_equal(playing.reset(seed=6), stepping.reset(seed=6))
    for episode in range(2):
        assert_equal(playing.observe_episode(), stepping.observe_episode())
        actions = np.stack(sample_actions(playing, T, seed=episode), axis=1)
        played = playing.play(actions)
        assert_equal(
            (played.rewards.double().numpy(), played.infos), step_through(stepping, actions)
        )
        if rules.get("autoreset_mode") == "disabled":
            assert_equal(playing.reset(), stepping.reset())
    assert_equal(playing.observe_episode(), stepping.observe_episode())


@pytest.mark.parametrize("as_type", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_actions_and_the_offsets_that_they_name_may_be_numpy_or_torch(
    make_vector_env, assert_equal, as_type
):
    by_action, by_offset = make_vector_env(N), make_vector_env(N)
    by_action.reset(seed=6)
    by_offset.reset(seed=6)
    actions = np.random.default_rng(0).integers(0, 49, (N, T))
    offsets = by_action.core.grid.offsets(torch.from_numpy(actions)).numpy()
    played = by_offset.play(offsets=as_type(offsets))
    assert_equal(vars(by_action.play(as_type(actions))), vars(played))
    assert played.infos["patch_box"][..., :2].tolist() == offsets.tolist()


def test_other_shapes_than_the_episodes_are_refused(make_vector_env):
    env = make_vector_env(N)
    env.reset(seed=6)
    for shape in ((N,), (N, T - 1), (T, N), (N, T, 1)):
        with pytest.raises(InvalidAction, match=r"shape \(3, 4\)"):
            env.play(np.zeros(shape, np.int64))
    for shape in ((N, 2), (N, T), (N, T - 1, 2), (N + 1, T, 2)):
        with pytest.raises(ValueError, match="shape"):
            env.play(offsets=torch.zeros(shape, dtype=torch.int64))


def test_drawing_after_a_played_episode_shows_its_last_look(make_vector_env, step_through):
    rules = {"autoreset_mode": "disabled", "render_mode": "rgb_array"}
    playing, stepping = make_vector_env(N, **rules), make_vector_env(N, **rules)
    playing.reset(seed=6)
    stepping.reset(seed=6)
    actions = np.full((N, T), [0, 48, 10, 33])
    playing.play(actions)
    step_through(stepping, actions)
    for image, other in zip(playing.render(), stepping.render(), strict=True):
        assert np.abs(image.astype(int) - other).max() <= 1


@pytest.mark.parametrize("begin", ["reset", "play", "step"])
def test_scheduled_videos_are_shown_once_and_leave_the_rows_own_order_as_it_is(
    make_vector_env, step_through, begin
):
    shown = []
    for schedules in (True, False):
        env = make_vector_env(N)
        env.reset(seed=6)
        shown.append([])
        for episode in range(4):
            if schedules and episode == 1:
                env.schedule_videos(np.array([4, 0, 4]))
            if begin == "reset":
                env.reset()
            elif begin == "play":
                env.play(np.zeros((N, T), np.int64))
            else:
                step_through(env, np.zeros((N, T), np.int64))
            shown[-1].append([start.video_index for start in env.core.starts])
    scheduled, own = shown
    assert scheduled[1] == [4, 0, 4]
    assert [scheduled[0], *scheduled[2:]] == own[:3]


def test_a_bad_schedule_is_refused(make_vector_env):
    env = make_vector_env(N)
    for videos in ([0, 1], [0, 1, -1], [0.0, 1.0, 2.0]):
        with pytest.raises(ValueError, match="video_indices"):
            env.schedule_videos(videos)
    with pytest.raises(IndexError, match=r"0, 5, 1.* not all in 0\.\.4"):
        env.schedule_videos([0, 5, 1])
