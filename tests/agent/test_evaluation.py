"""evaluate_agent: every video once a draw, whatever the batch; replays; looks on target."""

import copy
from dataclasses import replace
from unittest import mock

import gymnasium
import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng
from agents.baselines.registry import make_baseline
from agents.baselines.simple import RandomAgent, RandomOffsets
from agents.evaluation import Evaluation, evaluate_agent, on_target, replay_actions
from agents.policies.distributions import inverse_cdf

V, T = 5, 4


@pytest.fixture
def make_bench(make_vector_env):
    """Environments for evaluation, 16 positions."""

    def make(num_envs, **rules):
        return make_vector_env(num_envs, **{"autoreset_mode": "disabled", "grid_size": 4, **rules})

    return make


@pytest.fixture
def make_agent(make_policy, tiny_recognizer):
    """An agent by name for an environment."""

    def make(name, env):
        if name != "learned":
            return make_baseline(name, env.core, tiny_recognizer)
        shape = env.single_observation_space.shape
        return make_policy(shape=shape, actions=16, seed=3, hidden_dim=32, channels=16)

    return make


@pytest.mark.parametrize("num_envs", [3, 64])
def test_every_video_is_seen_once_a_draw_in_order(make_bench, num_envs):
    env = make_bench(num_envs)
    counts, agent = [], RandomAgent(env.single_action_space)
    evaluation = evaluate_agent(env, agent, draws=2, progress=counts.append)
    assert evaluation.video_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert evaluation.draw.tolist() == [0, 1] * V
    assert evaluation.label.tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]
    assert evaluation.num_videos == V
    assert sum(counts) == 10
    assert max(counts) <= num_envs
    assert evaluation.actions.shape == evaluation.rewards.shape == (10, T)
    assert evaluation.logits.shape == (10, T, 3)
    assert evaluation.boxes.shape == (10, T, 4)


@pytest.mark.parametrize(
    "name",
    [
        *("random", "learned", "greedy_oracle", "sweep"),
        *("saliency", "beam_oracle:3", "random_offsets"),
    ],
)
def test_results_depend_neither_on_the_batch_size_nor_on_what_was_evaluated_before(
    make_bench, make_agent, tiny_recognizer, name, assert_equal
):
    before = tiny_recognizer.fingerprint()
    whole = make_bench(V)
    expected = evaluate_agent(whole, make_agent(name, whole), seed=4, draws=2)
    for rows in (3, 64):
        env = make_bench(rows)
        evaluate_agent(env, RandomAgent(env.single_action_space), seed=5)
        agent = make_agent(name, env)
        assert_equal(vars(expected), vars(evaluate_agent(env, agent, seed=4, draws=2)))
        assert_equal(vars(expected), vars(evaluate_agent(env, agent, seed=4, draws=2)))
    assert tiny_recognizer.fingerprint() == before


def test_the_numbers_are_those_of_stepping(make_bench):
    env = make_bench(2)
    evaluation = evaluate_agent(env, RandomAgent(env.single_action_space), seed=4)
    single = make_bench(1)
    for video in range(V):
        options = {"video_index": video, "episode_seed": derive_episode_seed(4, video, 0)}
        single.reset(options=options)
        for t in range(T):
            _, reward, _, _, info = single.step(evaluation.actions[video : video + 1, t])
            assert evaluation.rewards[video, t] == pytest.approx(reward[0], abs=1e-5)
            confidence = evaluation.confidences[video, t]
            assert confidence == pytest.approx(info["confidence"][0], abs=1e-5)
            assert evaluation.boxes[video, t].tolist() == info["patch_box"][0].tolist()
            assert evaluation.correct()[video, t] == (info["predicted_label"] == info["label"])[0]


class _Recording:
    """An agent that notes what it is called with."""

    def __init__(self):
        self.calls = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.calls.append((observation.copy(), state, episode_start.tolist(), deterministic))
        return np.full(len(observation), len(self.calls)), (np.array([len(self.calls)]),)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_agent_is_asked_as_sb3_asks(make_bench, deterministic):
    env, agent = make_bench(V), _Recording()
    evaluation = evaluate_agent(env, agent, deterministic=deterministic)
    assert [starts for _, _, starts, _ in agent.calls] == [[t == 0] * V for t in range(T)]
    assert [state for _, state, _, _ in agent.calls] == [None, ([1],), ([2],), ([3],)]
    assert {asked for _, _, _, asked in agent.calls} == {deterministic}
    assert evaluation.actions.tolist() == [[1, 2, 3, 4]] * V
    env.reset(options={"video_index": np.arange(V), "episode_seed": _seeds(V)})
    for t, (seen, _, _, _) in enumerate(agent.calls):
        np.testing.assert_allclose(seen, env.observe_episode()[:, t], atol=1e-5)


def _seeds(videos, draw=0):
    return np.array([derive_episode_seed(0, video, draw) for video in range(videos)], np.uint64)


def test_a_policys_looks_are_those_it_takes_step_by_step(make_bench, make_agent):
    env = make_bench(V)
    policy = make_agent("learned", env)
    evaluation = evaluate_agent(env, policy)
    env.reset(options={"video_index": np.arange(V), "episode_seed": _seeds(V)})
    observations, state = env.observe_episode().numpy(), None
    for t in range(T):
        starts = np.full(V, t == 0)
        actions, state = policy.predict(observations[:, t], state, starts, deterministic=True)
        assert evaluation.actions[:, t].tolist() == actions.tolist()


def test_an_action_is_drawn_by_the_episodes_uniforms_and_the_policy_stays_as_it_was(
    make_bench, make_agent
):
    env = make_bench(V)
    policy = make_agent("learned", env)
    before = copy.deepcopy(policy.state_dict())
    evaluation = evaluate_agent(make_bench(2), policy, draws=2, deterministic=False)
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    for draw in range(2):
        seeds = _seeds(V, draw)
        env.reset(options={"video_index": np.arange(V), "episode_seed": seeds})
        with torch.no_grad():
            probs = policy.evaluate_episodes(env.observe_episode())[0].probs
        rows = [episode_rng(int(s), Purpose.ACTION).random(T, dtype=np.float32) for s in seeds]
        expected = inverse_cdf(probs, torch.from_numpy(np.stack(rows)))
        assert evaluation.actions[draw::2].tolist() == expected.tolist()


@pytest.mark.parametrize(("name", "deterministic"), [("random", True), ("learned", False)])
def test_some_videos_give_what_they_give_among_all(
    make_bench, make_agent, name, deterministic, assert_equal
):
    env = make_bench(2)
    arguments = {"seed": 4, "draws": 2, "deterministic": deterministic}
    whole = evaluate_agent(env, make_agent(name, env), **arguments)
    part = evaluate_agent(env, make_agent(name, env), videos=[4, 1, 2], **arguments)
    assert part.video_index.tolist() == [4, 4, 1, 1, 2, 2]
    assert part.num_videos == 3
    rows = [8, 9, 2, 3, 4, 5]
    chosen = {field: values[rows] for field, values in vars(whole).items()}
    assert_equal(chosen, vars(part))
    assert_equal(vars(part), vars(replay_actions(env, part, seed=4)))


def test_random_offsets_are_those_of_stage_1(make_bench):
    env = make_bench(3)
    evaluation = evaluate_agent(env, RandomOffsets(env.core))
    free = 40 - 12
    expected = [
        (episode_rng(int(seed), Purpose.PATCH).random((T, 2)) * free).astype(np.int64)
        for seed in _seeds(V)
    ]
    assert evaluation.boxes[..., :2].tolist() == np.stack(expected).tolist()
    assert evaluation.actions.tolist() == np.stack(expected).tolist()
    assert evaluation.boxes[..., 2:].tolist() == [[[12, 12]] * T] * V
    grid = set((free * np.arange(4) // 3).tolist())
    assert not set(evaluation.boxes[..., :2].flatten().tolist()) <= grid


def test_only_a_reward_that_compares_patches_costs_another_one(make_bench, make_agent):
    for reward, patches in (("conf", 1), ("prev", 1), ("random", 2)):
        env = make_bench(V, reward=reward)
        features = env.core.features
        with mock.patch.object(features, "focus", wraps=features.focus) as focus:
            evaluate_agent(env, make_agent("learned", env))
        assert sum(len(call.args[2]) for call in focus.call_args_list) == patches * V * T


@pytest.mark.parametrize("where", ["grid", "continuous", "any pixel"])
def test_replaying_before_the_same_recognizer_changes_nothing(make_bench, where, assert_equal):
    rules = {"locations": "continuous" if where == "continuous" else "grid"}
    env = make_bench(3, **rules)
    agent = (
        RandomOffsets(env.core) if where == "any pixel" else RandomAgent(env.single_action_space)
    )
    evaluation, counts = evaluate_agent(env, agent, seed=4, draws=2), []
    replayed = replay_actions(make_bench(2, **rules), evaluation, seed=4, progress=counts.append)
    assert_equal(vars(evaluation), vars(replayed))
    assert sum(counts) == 10
    boxes = evaluation.boxes * np.array([0, 0, 1, 1])
    again = replay_actions(env, replace(evaluation, boxes=boxes))
    assert again.boxes[..., :2].tolist() == [[[0, 0]] * T] * 2 * V


def test_replaying_before_another_recognizer_repeats_the_looks_alone(
    make_bench, make_recognizer, make_videos
):
    env = make_bench(3)
    evaluation = evaluate_agent(env, RandomAgent(env.single_action_space), draws=2)
    other = PatchLocalizationVectorEnv.from_parts(
        make_recognizer(1), make_videos(), num_envs=4, autoreset_mode="disabled", grid_size=4
    )
    replayed = replay_actions(other, evaluation)
    for name in ("video_index", "draw", "label", "actions", "boxes"):
        np.testing.assert_array_equal(vars(replayed)[name], vars(evaluation)[name])
    assert np.abs(replayed.logits - evaluation.logits).max() > 0.1


def _evaluation(**changes):
    """Two videos, two draws, two steps, two classes."""
    zeros = np.zeros((4, 2))
    values = {
        "video_index": np.array([0, 0, 1, 1]),
        "draw": np.array([0, 1, 0, 1]),
        "label": np.array([0, 0, 1, 1]),
        "actions": zeros.astype(np.int64),
        "rewards": zeros,
        "confidences": zeros,
        "logits": np.zeros((4, 2, 2), np.float32),
        "boxes": np.zeros((4, 2, 4), np.int64),
    }
    return Evaluation(**{**values, **changes})


def test_draws_are_averaged_for_each_video():
    rewards = np.array([[1.0, 2.0], [3.0, 6.0], [0.0, 0.0], [0.0, 1.0]])
    evaluation = _evaluation(rewards=rewards)
    assert evaluation.per_video(rewards).tolist() == [[2.0, 4.0], [0.0, 0.5]]
    assert evaluation.per_video(np.array([True, False, True, True])).tolist() == [0.5, 1.0]


def test_a_step_is_correct_where_the_largest_logit_is_the_true_class():
    logits = np.array(
        [[[2, 1], [0, 1]], [[1, 0], [3, 2]], [[2, 1], [0, 1]], [[0, 1], [0, 1]]], np.float32
    )
    expected = [[True, False], [True, True], [False, True], [True, True]]
    assert _evaluation(logits=logits).correct().tolist() == expected


class _Targets:
    """Two videos of which the second one's target may be unknown."""

    def __init__(self, known=True):
        self._known = known

    def target_centers(self, index):
        centers = [[[10.0, 20.0], [41.9, 5.0]], [[0.0, 0.0], [42.0, 42.0]]]
        return np.array(centers[index], np.float32) if index == 0 or self._known else None


def test_a_look_is_on_target_where_the_centre_is_inside_the_patch():
    size = [32, 32]
    boxes = np.array(
        [
            [[10, 20, *size], [10, 0, *size]],  # upper left corner inside; 41.9 < 10 + 32
            [[11, 20, *size], [10, 6, *size]],  # a row too low; a column too far right
            [[0, 0, *size], [10, 11, *size]],  # inside; 42 is outside of 10..41
            [[0, 1, *size], [11, 11, *size]],  # a column too far right; 42 < 11 + 32
        ]
    )
    hits = on_target(_evaluation(boxes=boxes), _Targets())
    assert hits.tolist() == [[True, True], [False, False], [True, False], [False, True]]

    assert on_target(_evaluation(), _Targets(known=False)) is None


def test_what_cannot_be_evaluated_is_refused(make_bench):
    env = make_bench(2)
    agent = RandomAgent(env.single_action_space)
    for given, error, message in (
        ({"videos": []}, ValueError, "videos must name some"),
        ({"videos": [1, 1]}, ValueError, r"each once, got \[1, 1\]"),
        ({"videos": [5]}, IndexError, "video_index 5 is not in 0..4"),
        ({"draws": 0}, ValueError, "at least one draw is needed, got 0"),
    ):
        with pytest.raises(error, match=message):
            evaluate_agent(env, agent, **given)
    with pytest.raises(ValueError, match="autoreset_mode='disabled'"):
        evaluate_agent(make_bench(2, autoreset_mode="same_step"), agent)
    with pytest.raises(ValueError, match=r"gymnasium\.make_vec"):
        evaluate_agent(gymnasium.make("AdaFocus/PatchLocalization-v0"), agent)
