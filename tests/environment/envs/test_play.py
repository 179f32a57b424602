"""Whole episodes at once: `observe_episode`, `play`, `schedule_videos`."""

import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction, ResetNeeded

from adafocus_env.envs import REWARDS, EpisodeResult

N, T = 3, 4


def _actions(env, seed):
    """`(N, T)` or `(N, T, 2)`."""
    env.action_space.seed(seed)
    return np.stack([env.action_space.sample() for _ in range(T)], axis=1)


def _step_through(env, actions):
    """An episode step by step, as `play` gives it."""
    rewards, infos = [], []
    for t in range(T):
        _, reward, terminated, truncated, info = env.step(actions[:, t])
        assert terminated.tolist() == [t == T - 1] * N
        assert not truncated.any()
        rewards.append(reward)
        infos.append(info.get("final_info", info))
    names = [name for name in infos[0] if not name.startswith("_")]
    stacked = {name: np.stack([info[name] for info in infos], axis=1) for name in names}
    return {
        "rewards": np.stack(rewards, axis=1),
        "infos": {**stacked, "is_success": infos[-1]["is_success"]},
    }


@pytest.mark.parametrize(
    "rules",
    [
        *({"reward": reward} for reward in REWARDS),
        {"baseline_positions": "grid", "locations": "continuous"},
        {"reward": "expected", "locations": "continuous", "autoreset_mode": "disabled"},
        {"locations": "skip"},
        {"reward": "skip", "locations": "skip", "skip_cost": "random"},
        {"reward": "prev", "locations": "skip", "autoreset_mode": "disabled"},
    ],
    ids=str,
)
def test_playing_two_episodes_equals_stepping_through_them(make_vector_env, assert_equal, rules):
    playing, stepping = make_vector_env(N, **rules), make_vector_env(N, **rules)
    assert_equal(playing.reset(seed=6), stepping.reset(seed=6))
    for episode in range(2):
        assert_equal(playing.observe_episode(), stepping.observe_episode())
        actions = _actions(playing, seed=episode)
        played = playing.play(actions)
        stepped = _step_through(stepping, actions)
        assert_equal(played.rewards.double().numpy(), stepped["rewards"])
        assert_equal(played.infos, stepped["infos"])
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
    actions = _actions(by_action, seed=0)
    offsets = by_action.core.grid.offsets(torch.from_numpy(actions)).numpy()
    played = by_offset.play(offsets=as_type(offsets))
    assert_equal(vars(by_action.play(as_type(actions))), vars(played))
    assert played.infos["patch_box"][..., :2].tolist() == offsets.tolist()


@pytest.mark.parametrize("observation", ["map", "vector"])
def test_observe_episode_is_what_stepping_shows(make_vector_env, assert_equal, observation):
    env = make_vector_env(N, observation=observation)
    first, _ = env.reset(seed=6)
    for episode in range(2):
        whole = env.observe_episode().numpy()
        assert whole.shape[:2] == (N, T)
        shown = [first]
        for action in _actions(env, seed=episode).T:
            first, _, _, _, infos = env.step(action)
            shown.append(first)
        assert_equal(np.stack(shown[:T], axis=1), whole)
        assert_equal(np.stack(list(infos["final_obs"])), whole[:, -1])


def test_a_played_episode_says_what_it_was(make_vector_env):
    env = make_vector_env(N)
    _, infos = env.reset(seed=6)
    played = env.play(np.full((N, T), 48))
    assert isinstance(played, EpisodeResult)
    assert played.logits.shape == (N, T, 3)
    assert played.rewards.dtype == torch.float32
    assert played.infos["video_index"].tolist() == [[int(v)] * T for v in infos["video_index"]]
    assert played.infos["frame_index"].tolist() == [[0, 1, 2, 3]] * N
    assert played.infos["patch_box"].tolist() == [[[28, 28, 12, 12]] * T] * N
    probabilities = played.logits.double().softmax(dim=2)
    labels = torch.from_numpy(played.infos["label"])
    torch.testing.assert_close(
        probabilities.gather(2, labels[..., None])[..., 0],
        torch.from_numpy(played.infos["confidence"]),
        rtol=0,
        atol=1e-5,
    )
    right = played.predicted_labels[:, -1].numpy() == infos["label"]
    assert played.infos["is_success"].tolist() == right.tolist()


def test_playing_again_needs_the_reset_that_same_step_gives_and_disabled_does_not(make_vector_env):
    env = make_vector_env(N)
    env.reset(seed=6)
    shown = [env.play(np.zeros((N, T), np.int64)).infos["video_index"][:, 0] for _ in range(5)]
    for row in np.stack(shown, axis=1):
        assert sorted(row.tolist()) == [0, 1, 2, 3, 4]

    env = make_vector_env(N, autoreset_mode="disabled")
    env.reset(seed=6)
    actions = np.zeros((N, T), np.int64)
    env.play(actions)
    for call in (lambda: env.play(actions), env.observe_episode):
        with pytest.raises(ResetNeeded, match="every row at its first frame; reset first"):
            call()
    env.reset()
    env.play(actions)


def test_other_shapes_than_the_episodes_and_an_episode_that_has_begun_are_refused(make_vector_env):
    env = make_vector_env(N)
    env.reset(seed=6)
    for shape in ((N,), (N, T - 1), (T, N), (N, T, 1)):
        with pytest.raises(InvalidAction, match=r"shape \(3, 4\)"):
            env.play(np.zeros(shape, np.int64))
    for shape in ((N, 2), (N, T), (N, T - 1, 2), (N + 1, T, 2)):
        with pytest.raises(ValueError, match="shape"):
            env.play(offsets=torch.zeros(shape, dtype=torch.int64))
    env.step(np.zeros(N, np.int64))
    with pytest.raises(ResetNeeded, match="play needs every row at its first frame"):
        env.play(np.zeros((N, T), np.int64))


def test_drawing_after_a_played_episode_shows_its_last_look(make_vector_env):
    rules = {"autoreset_mode": "disabled", "render_mode": "rgb_array"}
    playing, stepping = make_vector_env(N, **rules), make_vector_env(N, **rules)
    playing.reset(seed=6)
    stepping.reset(seed=6)
    actions = _actions(playing, seed=0)
    playing.play(actions)
    _step_through(stepping, actions)
    for image, other in zip(playing.render(), stepping.render(), strict=True):
        assert np.abs(image.astype(int) - other).max() <= 1


@pytest.mark.parametrize("begin", ["autoreset", "reset"])
@pytest.mark.parametrize("way", ["play", "step"])
def test_scheduled_videos_are_shown_once_and_leave_the_rows_own_order_as_it_is(
    make_vector_env, way, begin
):
    env, own_order = make_vector_env(N), make_vector_env(N)
    shown = {id(env): [], id(own_order): []}
    for other in (env, own_order):
        _, infos = other.reset(seed=6)
        for episode in range(4):
            if episode == 1 and other is env:
                env.schedule_videos(np.array([4, 0, 4]))
            if begin == "reset":
                _, infos = other.reset()
                shown[id(other)].append(infos["video_index"].tolist())
                continue
            actions = np.zeros((N, T), np.int64)
            if way == "play":
                other.play(actions)
            else:
                _step_through(other, actions)
            shown[id(other)].append([start.video_index for start in other.core.starts if start])
    scheduled, own = shown[id(env)], shown[id(own_order)]
    assert scheduled[1] == [4, 0, 4]
    assert [scheduled[0], *scheduled[2:]] == own[:3]


def test_a_bad_schedule_is_refused(make_vector_env):
    env = make_vector_env(N)
    for videos in ([0, 1], [0, 1, -1], [0.0, 1.0, 2.0]):
        with pytest.raises(ValueError, match="video_indices"):
            env.schedule_videos(videos)
    with pytest.raises(IndexError, match=r"0, 5, 1.* not all in 0\.\.4"):
        env.schedule_videos([0, 5, 1])
