"""evaluate_agent: every video once a draw, whatever the batch; replays; looks on target."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import FrozenNetworks
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng
from agents.baselines.registry import make_baseline
from agents.baselines.simple import RandomAgent, RandomOffsets
from agents.evaluation import Evaluation, evaluate_agent, on_target, replay_actions
from agents.policies.distributions import inverse_cdf
from agents.policies.gru_policy import GruActorCriticPolicy

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


AGENTS = ["random", "learned", "greedy_oracle", "sweep", "saliency", "beam_oracle:3"]
AGENTS += ["random_offsets"]


def _assert_same(one, other):
    for name, value in vars(one).items():
        got = vars(other)[name]
        assert (value.shape, value.dtype.kind) == (got.shape, got.dtype.kind), name
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, got, rtol=0.0, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(value, got, err_msg=name)


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


@pytest.mark.parametrize("name", AGENTS)
def test_results_depend_neither_on_the_batch_size_nor_on_what_was_evaluated_before(
    make_bench, make_agent, tiny_recognizer, name
):
    before = tiny_recognizer.fingerprint()
    whole = make_bench(V)
    expected = evaluate_agent(whole, make_agent(name, whole), seed=4, draws=2)
    for rows in (3, 64):
        env = make_bench(rows)
        evaluate_agent(env, RandomAgent(env.single_action_space), seed=5)
        agent = make_agent(name, env)
        _assert_same(expected, evaluate_agent(env, agent, seed=4, draws=2))
        _assert_same(expected, evaluate_agent(env, agent, seed=4, draws=2))
    assert tiny_recognizer.fingerprint() == before


def test_another_seed_and_another_draw_are_other_chances(make_bench):
    env = make_bench(3)
    agent = RandomAgent(env.single_action_space)
    one, other = (evaluate_agent(env, agent, seed=seed, draws=2) for seed in (0, 1))
    assert not np.array_equal(one.actions, other.actions)
    assert not np.array_equal(one.actions[::2], one.actions[1::2])


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
            assert evaluation.confidences[video, t] == pytest.approx(
                info["confidence"][0], abs=1e-5
            )
            assert evaluation.boxes[video, t].tolist() == info["patch_box"][0].tolist()
            assert evaluation.correct()[video, t] == (info["predicted_label"] == info["label"])[0]


def test_the_oracle_beats_random_and_center(make_bench, make_agent):
    means = {}
    for name in ("greedy_oracle", "random", "center"):
        env = make_bench(V, reward="expected")
        means[name] = evaluate_agent(env, make_agent(name, env)).rewards.mean()
    assert means["greedy_oracle"] > max(means["random"], means["center"]) + 0.01


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
    options = {"video_index": np.arange(V)}
    env.reset(options={**options, "episode_seed": _seeds(V)})
    for t, (seen, _, _, _) in enumerate(agent.calls):
        np.testing.assert_allclose(seen, env.observe_episode()[:, t], atol=1e-5)


def _seeds(videos):
    return np.array([derive_episode_seed(0, video, 0) for video in range(videos)], np.uint64)


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


def test_drawn_actions_belong_to_the_episode(make_bench, make_agent):
    policy = make_agent("learned", make_bench(1))
    results = []
    for rows in (V, 2):
        torch.manual_seed(rows)  # what evaluation draws is not drawn from here
        env = make_bench(rows)
        results.append(evaluate_agent(env, policy, seed=4, draws=3, deterministic=False))
    _assert_same(*results)
    assert np.unique(results[0].actions).size > 3
    other = evaluate_agent(make_bench(V), policy, seed=5, draws=3, deterministic=False)
    assert not np.array_equal(other.actions, results[0].actions)


def test_an_action_is_drawn_by_the_episodes_uniforms(make_bench, make_agent):
    env = make_bench(V)
    policy = make_agent("learned", env)
    assert isinstance(policy, GruActorCriticPolicy)
    evaluation = evaluate_agent(env, policy, deterministic=False)
    env.reset(options={"video_index": np.arange(V), "episode_seed": _seeds(V)})
    with torch.no_grad():
        probs = policy.evaluate_episodes(env.observe_episode())[0].probs
    uniforms = [episode_rng(int(s), Purpose.ACTION).random(T, dtype=np.float32) for s in _seeds(V)]
    expected = inverse_cdf(probs, torch.from_numpy(np.stack(uniforms)))
    assert evaluation.actions.tolist() == expected.tolist()


@pytest.mark.parametrize(("name", "deterministic"), [("random", True), ("learned", False)])
def test_some_videos_give_what_they_give_among_all(make_bench, make_agent, name, deterministic):
    env = make_bench(2)
    arguments = {"seed": 4, "draws": 2, "deterministic": deterministic}
    whole = evaluate_agent(env, make_agent(name, env), **arguments)
    part = evaluate_agent(env, make_agent(name, env), videos=[4, 1, 2], **arguments)
    assert part.video_index.tolist() == [4, 4, 1, 1, 2, 2]
    assert part.num_videos == 3
    rows = [8, 9, 2, 3, 4, 5]
    chosen = {field: values[rows] for field, values in vars(whole).items()}
    _assert_same(Evaluation(**chosen), part)
    _assert_same(part, replay_actions(env, part, seed=4))


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


@pytest.mark.parametrize(("reward", "patches"), [("conf", 1), ("prev", 1), ("random", 2)])
def test_only_a_reward_that_compares_patches_costs_another_one(
    make_bench, make_agent, monkeypatch, reward, patches
):
    env = make_bench(V, reward=reward)
    seen = []
    focus = FrozenNetworks.focus

    def count(networks, frames, offsets, **how):
        seen.append(len(offsets))
        return focus(networks, frames, offsets, **how)

    monkeypatch.setattr(FrozenNetworks, "focus", count)
    evaluate_agent(env, make_agent("learned", env))
    assert sum(seen) == patches * V * T


@pytest.mark.parametrize("where", ["grid", "continuous", "any pixel"])
def test_replaying_before_the_same_recognizer_changes_nothing(make_bench, where):
    rules = {"locations": "continuous" if where == "continuous" else "grid"}
    env = make_bench(3, **rules)
    agent = (
        RandomOffsets(env.core) if where == "any pixel" else RandomAgent(env.single_action_space)
    )
    evaluation, counts = evaluate_agent(env, agent, seed=4, draws=2), []
    replayed = replay_actions(make_bench(2, **rules), evaluation, seed=4, progress=counts.append)
    _assert_same(evaluation, replayed)
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


def test_evaluating_leaves_a_policy_as_it_was(make_bench, make_agent):
    env = make_bench(2)
    policy = make_agent("learned", env)
    assert isinstance(policy, GruActorCriticPolicy)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    evaluate_agent(env, policy)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name]), name
