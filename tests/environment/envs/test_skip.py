"""Skipping frames (AdaFocus+): the focuser does not run, and looks have a price."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction
from torch import Tensor

from adafocus_env.envs import GridOrSkip, PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.envs.actions import PatchChoice
from adafocus_env.envs.skip_cost import SkipCost, append_cost, cost_at, cost_level
from adafocus_env.seeding import Purpose, episode_rng

SKIP = "AdaFocus/PatchLocalizationSkip-v0"
N, T, LAST = 3, 4, 49
SKIPPING: dict[str, Any] = {"locations": "skip", "reward": "skip"}
# In rows 0 and 2 some frames are skipped, in row 1 all.
ACTIONS = np.array([[10, LAST, 0, LAST], [LAST] * 4, [48, 24, LAST, 3]])


def _stepped(env, actions):
    """An episode step by step, as `play` gives it."""
    rewards, infos = [], []
    for t in range(T):
        _, reward, _, _, info = env.step(actions[:, t])
        rewards.append(reward)
        infos.append(info)
    names = [name for name in infos[0] if not name.startswith("_")]
    stacked = {name: np.stack([info[name] for info in infos], axis=1) for name in names}
    stacked["is_success"] = infos[-1]["is_success"]
    return {"rewards": np.stack(rewards, axis=1), "infos": stacked}


class FocusedPairs:
    """Remembers every call of the focuser."""

    def __init__(self, env, monkeypatch):
        self.calls: list[list[tuple[int, int, int, int]]] = []
        features = env.core.features
        focus = features.focus

        def remembered(rows, steps, offsets):
            table = torch.cat([rows[:, None], steps[:, None], offsets], dim=1)
            self.calls.append([tuple(line) for line in table.tolist()])
            vectors: Tensor = focus(rows, steps, offsets)
            return vectors

        monkeypatch.setattr(features, "focus", remembered)


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
def test_the_focuser_runs_on_exactly_the_focused_patches(make_vector_env, monkeypatch, way):
    env = make_vector_env(N, **SKIPPING, autoreset_mode="disabled")
    env.reset(seed=6)
    focused = FocusedPairs(env, monkeypatch)
    if way == "play":
        env.play(ACTIONS)
    else:
        _stepped(env, ACTIONS)
    # 28 free pixels: action 10 at 28 // 6, 3 * 28 // 6; 24 in the middle; 48 in the last corner.
    kept = [(0, 0, 4, 14), (0, 2, 0, 0), (2, 0, 28, 28), (2, 1, 14, 14), (2, 3, 0, 14)]
    if way == "play":
        assert focused.calls == [kept]
    else:
        by_step = [[look for look in kept if look[1] == t] for t in range(T)]
        assert focused.calls == by_step

    focused.calls.clear()
    env.reset(seed=6)
    assert env.play(np.full((N, T), LAST)).rewards.tolist() == [[0.0] * T] * N
    assert focused.calls == []  # not even with nothing


@pytest.mark.parametrize(
    ("reward", "skip_cost"), [("skip", 0.125), ("random", "random"), ("conf", 0.0)]
)
def test_playing_with_skipped_frames_equals_stepping(
    make_vector_env, assert_equal, reward, skip_cost
):
    rules = {"locations": "skip", "reward": reward, "skip_cost": skip_cost}
    playing, stepping = (make_vector_env(N, **rules, autoreset_mode="disabled") for _ in range(2))
    assert_equal(playing.reset(seed=6), stepping.reset(seed=6))
    assert_equal(playing.observe_episode()[:, 0].numpy(), stepping.core.observe().numpy())
    played, stepped = playing.play(ACTIONS), _stepped(stepping, ACTIONS)
    assert_equal(played.rewards.double().numpy(), stepped["rewards"])
    assert_equal(played.infos, stepped["infos"])


@pytest.mark.parametrize("skip_cost", [0.125, "random"])
def test_a_row_with_skipped_frames_equals_the_single_environment(
    make_env, make_vector_env, assert_equal, skip_cost
):
    rules = {**SKIPPING, "skip_cost": skip_cost}
    vector = make_vector_env(N, **rules, autoreset_mode="disabled")
    singles = [make_env(**rules) for _ in range(N)]
    observations, infos = vector.reset(seed=6)
    for row, env in enumerate(singles):
        observation, info = env.reset(seed=6 + row)
        assert_equal(observations[row], observation)
        assert info["skip_cost"] == infos["skip_cost"][row]
    for t in range(T):
        observations, rewards, _, _, infos = vector.step(ACTIONS[:, t])
        for row, env in enumerate(singles):
            observation, reward, _, _, info = env.step(ACTIONS[row, t])
            assert_equal(observations[row], observation)
            assert rewards[row] == pytest.approx(reward, abs=1e-5)
            for name in ("skipped", "skip_cost", "patch_box"):
                assert_equal(infos[name][row], np.asarray(info[name])[()])


def test_a_skipped_frame_is_worth_exactly_nothing_and_a_look_what_it_adds_less_its_cost(
    make_vector_env,
):
    env = make_vector_env(N, **SKIPPING, skip_cost=0.125, autoreset_mode="disabled")
    skipping = make_vector_env(N, **SKIPPING, autoreset_mode="disabled")
    for other in (env, skipping):
        other.reset(seed=6)
    actions = np.array([[7, LAST], [24, LAST], [40, LAST]])
    for t in range(2):
        _, rewards, _, _, infos = env.step(actions[:, t])
        if t == 0:
            _, _, _, _, without = skipping.step(np.full(N, LAST))
            np.testing.assert_allclose(
                rewards, infos["confidence"] - without["confidence"] - 0.125, atol=1e-6
            )
            np.testing.assert_allclose(
                infos["baseline_confidence"], without["confidence"], atol=1e-6
            )
        else:
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


@pytest.mark.parametrize("skip_cost", [0.125, "random"])
def test_skipping_on_a_bank_equals_skipping_on_live_features(
    make_recognizer, make_videos, build_bank, tmp_path_factory, skip_cost
):
    recognizer, videos = make_recognizer(), make_videos()
    clip = videos.clip
    videos.clip = lambda index, _: clip(index, 0)  # whatever the episode: a bank holds one clip
    folder = tmp_path_factory.mktemp("bank") / "val"
    built = build_bank(folder, recognizer, videos, positions=PatchGrid(7, 40, 12).all_offsets())
    rules = {**SKIPPING, "skip_cost": skip_cost, "baseline_positions": "grid"}
    options = {"video_index": np.arange(N), "episode_seed": np.zeros(N, np.int64)}

    def play(bank):
        env = PatchLocalizationVectorEnv.from_parts(
            recognizer, videos, num_envs=N, autoreset_mode="disabled", bank=bank, **rules
        )
        env.reset(seed=0, options=options)
        return env.play(ACTIONS)

    live, banked = play(None), play(built)
    np.testing.assert_allclose(banked.rewards, live.rewards, atol=2e-3)
    assert banked.rewards[1].tolist() == [0.0] * T


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


def test_make_skips_frames_with_no_arguments():
    env = gym.make(SKIP)
    assert env.action_space == gym.spaces.Discrete(50)
    _, info = env.reset(seed=0)
    assert info["skip_cost"] == 0.05
    _, reward, _, _, info = env.step(49)
    assert reward == 0.0
    assert info["skipped"] is True
