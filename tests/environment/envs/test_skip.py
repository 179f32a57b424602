"""Skipping frames (AdaFocus+): the focuser does not run, and looks have a price."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction

from adafocus_env.envs import GridOrSkip, PatchGrid
from adafocus_env.envs.actions import PatchChoice
from adafocus_env.envs.skip_cost import SkipCost, append_cost, cost_at, cost_level
from adafocus_env.seeding import Purpose, episode_rng

N, T, LAST = 3, 4, 49
SKIPPING: dict[str, Any] = {"locations": "skip", "reward": "skip"}
# In rows 0 and 2 some frames are skipped, in row 1 all.
ACTIONS = np.array([[10, LAST, 0, LAST], [LAST] * 4, [48, 24, LAST, 3]])


def test_the_last_action_looks_nowhere():
    locations = GridOrSkip(PatchGrid(7, 112, 32))
    assert locations.action_space.n == 50
    looks = locations.choice(torch.tensor([[10, 49], [48, 0]]))
    assert looks.focused.tolist() == [[True, False], [True, True]]
    assert looks.offsets.tolist() == [[[13, 40], [0, 0]], [[80, 80], [0, 0]]]
    assert looks.boxes(32).tolist() == [
        [[13, 40, 32, 32], [0, 0, 0, 0]],
        [[80, 80, 32, 32], [0, 0, 32, 32]],
    ]

    with pytest.raises(
        InvalidAction, match=r"50 is not in 0\.\.49, .* 7x7 grid and 49, which skip"
    ):
        GridOrSkip(PatchGrid(7, 112, 32)).check([50], (1,))
    looks = PatchChoice.at(torch.tensor([[3, 4], [5, 6]]), torch.tensor([True, False]))
    assert looks.offsets.tolist() == [[3, 4], [0, 0]]


@pytest.mark.parametrize("way", ["play", "step"])
def test_the_focuser_runs_on_exactly_the_focused_patches(
    make_vector_env, monkeypatch, step_through, way
):
    env = make_vector_env(N, **SKIPPING, autoreset_mode="disabled")
    env.reset(seed=6)
    calls, focus = [], env.core.features.focus

    def remembered(rows, steps, offsets):
        table = torch.cat([rows[:, None], steps[:, None], offsets], dim=1)
        calls.append([tuple(line) for line in table.tolist()])
        return focus(rows, steps, offsets)

    monkeypatch.setattr(env.core.features, "focus", remembered)
    # 28 free pixels: action 10 at 28 // 6, 3 * 28 // 6; 24 in the middle; 48 in the last corner.
    kept = [(0, 0, 4, 14), (0, 2, 0, 0), (2, 0, 28, 28), (2, 1, 14, 14), (2, 3, 0, 14)]
    if way == "play":
        env.play(ACTIONS)
        assert calls == [kept]
    else:
        step_through(env, ACTIONS)
        assert calls == [[look for look in kept if look[1] == t] for t in range(T)]

    calls.clear()
    env.reset(seed=6)
    assert env.play(np.full((N, T), LAST)).rewards.tolist() == [[0.0] * T] * N
    assert calls == []  # not even with nothing


@pytest.mark.parametrize(
    ("reward", "skip_cost"), [("skip", 0.125), ("random", "random"), ("conf", 0.0)]
)
def test_playing_with_skipped_frames_equals_stepping(
    make_vector_env, assert_equal, step_through, reward, skip_cost
):
    rules = {"locations": "skip", "reward": reward, "skip_cost": skip_cost}
    playing, stepping = (make_vector_env(N, **rules, autoreset_mode="disabled") for _ in range(2))
    assert_equal(playing.reset(seed=6), stepping.reset(seed=6))
    assert_equal(playing.observe_episode()[:, 0].numpy(), stepping.core.observe().numpy())
    played = playing.play(ACTIONS)
    assert_equal((played.rewards.double().numpy(), played.infos), step_through(stepping, ACTIONS))


def test_a_skipped_frame_is_worth_exactly_nothing_and_a_look_what_it_adds_less_its_cost(
    make_vector_env,
):
    env, skipping = (
        make_vector_env(N, **SKIPPING, skip_cost=0.125, autoreset_mode="disabled") for _ in range(2)
    )
    for other in (env, skipping):
        other.reset(seed=6)
    _, rewards, _, _, infos = env.step(np.array([7, 24, 40]))
    without = skipping.step(np.full(N, LAST))[4]["confidence"]
    np.testing.assert_allclose(rewards, infos["confidence"] - without - 0.125, atol=1e-6)
    np.testing.assert_allclose(infos["baseline_confidence"], without, atol=1e-6)
    _, rewards, _, _, infos = env.step(np.full(N, LAST))
    assert rewards.tolist() == [0.0] * N
    assert infos["baseline_confidence"].tolist() == infos["confidence"].tolist()
    assert infos["skipped"].tolist() == [True] * N
    assert infos["patch_box"].tolist() == [[0, 0, 0, 0]] * N


def test_a_fixed_cost_changes_rewards_and_nothing_else(make_vector_env, assert_equal):
    cheap, dear = (make_vector_env(N, **SKIPPING, skip_cost=cost) for cost in (0.0, 0.25))
    assert cheap.single_observation_space == dear.single_observation_space
    assert_equal(cheap.reset(seed=6)[0], dear.reset(seed=6)[0])
    first, second = cheap.play(ACTIONS), dear.play(ACTIONS)
    lost = (first.rewards - second.rewards).numpy()
    np.testing.assert_allclose(lost, 0.25 * (ACTIONS != LAST), atol=1e-6)
    assert_equal(first.logits, second.logits)


@pytest.mark.parametrize("observation", ["map", "vector"])
def test_random_costs_are_one_draw_of_the_episode_and_the_last_channel_shows_them(
    make_vector_env, observation
):
    env = make_vector_env(
        N, **SKIPPING, skip_cost="random", observation=observation, autoreset_mode="disabled"
    )
    plain = make_vector_env(N, observation=observation)
    shape = (49, *env.single_observation_space.shape[1:])
    observations, infos = env.reset(seed=6, options={"episode_seed": np.arange(N)})
    assert observations.shape == (N, *shape)
    levels = np.array([episode_rng(seed, Purpose.SKIP_COST).random() for seed in range(N)])
    np.testing.assert_allclose(infos["skip_cost"], 0.2 * levels**3)
    expected = np.broadcast_to(6.0 * levels.reshape(N, *[1] * (len(shape) - 1)), (N, *shape[1:]))
    np.testing.assert_allclose(observations[:, -1], expected, rtol=1e-5)
    assert env.observation_space.contains(observations)
    glances, _ = plain.reset(seed=6, options={"episode_seed": np.arange(N)})
    np.testing.assert_array_equal(observations[:, :-1], glances)


def test_a_reset_option_fixes_the_cost_of_one_episode_or_one_a_row(make_env, make_vector_env):
    env = make_env(**SKIPPING, skip_cost="random")
    observation, info = env.reset(seed=6, options={"skip_cost": 0.025})
    assert info["skip_cost"] == 0.025
    assert observation[-1] == pytest.approx(3.0)  # 6 * (0.025 / 0.2) ** (1 / 3)
    assert env.step(0)[4]["skip_cost"] == 0.025
    _, info = env.reset()
    assert info["skip_cost"] != 0.025

    rows = make_vector_env(N, **SKIPPING)
    assert rows.reset(options={"skip_cost": 0.25})[1]["skip_cost"].tolist() == [0.25] * N
    costs = np.array([0.0, 0.5, 1.0])
    assert rows.reset(options={"skip_cost": costs})[1]["skip_cost"].tolist() == costs.tolist()


def test_a_cost_that_is_none_is_refused_and_any_cost_where_no_action_skips(make_env):
    for cost in (-0.1, float("nan"), "free", True, [0.1, 0.2]):
        with pytest.raises(ValueError, match="skip_cost"):
            make_env(**SKIPPING).reset(options={"skip_cost": cost})
        with pytest.raises((ValueError, TypeError), match="skip_cost"):
            make_env(**SKIPPING, skip_cost=cost)
    with pytest.raises(ValueError, match=r"skip_cost=0\.1 is for actions that can skip"):
        make_env(skip_cost=0.1)
    with pytest.raises(ValueError, match=r"unknown reset options \['skip_cost'\]"):
        make_env().reset(options={"skip_cost": 0.1})


def test_restored_rows_have_the_costs_they_had(make_vector_env):
    env, other = (make_vector_env(N, **SKIPPING, skip_cost="random") for _ in range(2))
    env.reset(seed=6, options={"skip_cost": np.array([0.0, 0.125, 0.5])})
    other.restore_rows(env.row_states())
    assert other.core.skip_costs.tolist() == [0.0, 0.125, 0.5]
    np.testing.assert_array_equal(other.core.observe().numpy(), env.core.observe().numpy())


def test_frames_can_be_skipped_by_offsets_where_no_action_does(make_vector_env, assert_equal):
    by_action = make_vector_env(N, locations="skip", reward="skip", skip_cost=0.0)
    by_offset = make_vector_env(N, reward="skip")
    for env in (by_action, by_offset):
        env.reset(seed=6)
    looks = by_action.core.locations.choice(torch.from_numpy(ACTIONS))
    expected = by_action.play(ACTIONS)
    got = by_offset.play(offsets=looks.offsets, focused=looks.focused)
    assert_equal(got.rewards, expected.rewards)
    assert_equal(got.infos["patch_box"], expected.infos["patch_box"])

    by_offset.reset(seed=6)
    for focused in (np.ones((N, T)), np.ones((N, T + 1), bool)):
        with pytest.raises(ValueError, match=r"focused must be bool of shape \(3, 4\)"):
            by_offset.play(offsets=np.zeros((N, T, 2), np.int64), focused=focused)


def test_a_skipped_frame_shows_no_patch(make_env):
    env = make_env(**SKIPPING, render_mode="rgb_array")
    env.reset(seed=6)
    before = env.render()
    env.step(LAST)
    skipped = env.render()
    assert not (skipped == (60, 255, 90)).all(axis=-1).any()
    assert (skipped[:30, :120] != before[:30, :120]).any()  # it says so


def test_cost_levels_are_the_inverse_of_the_draw():
    costs = torch.tensor([0.0, 0.025, 0.2, 2.0])
    torch.testing.assert_close(cost_level(costs), torch.tensor([0.0, 0.5, 1.0, 1.0]))
    torch.testing.assert_close(cost_at(torch.tensor([0.0, 0.5, 1.0])), costs[:3])
    shown = append_cost(torch.zeros(2, 1, 1, 2), costs[1:3], 6.0)
    expected = torch.tensor([[[[0.0, 0.0]], [[3.0, 3.0]]], [[[0.0, 0.0]], [[6.0, 6.0]]]])
    torch.testing.assert_close(shown, expected)
    assert SkipCost(0.25).of_episode(3) == 0.25
