"""GruPPO in closed loops: rollouts are episodes as stepped, and what idles counts for nothing."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from adafocus_env.envs import ActiveVisionVectorEnv
from agents import GruPPO, Sb3VecEnvAdapter, evaluate_agent
from agents.gru_ppo.episode_buffer import EpisodeBuffer
from agents.policies.policy_files import load_policy, save_policy

SPATIAL = {"head": "spatial", "recurrent": False, "head_dim": 8, "orthogonal": True}


@pytest.fixture
def make_loops(tiny_recognizer, make_videos):
    """Makes vector environments over `InMemoryVideos`: 4 frames, 3 classes."""

    def make(num_envs=3, **rules):
        rules["num_envs"] = num_envs
        return ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)

    return make


def _model(env, policy_kwargs=SPATIAL, **arguments):
    arguments = {"normalize_returns": False, "n_epochs": 2, "batch_episodes": 2, **arguments}
    adapter = Sb3VecEnvAdapter(env)
    return GruPPO(env=VecMonitor(adapter), seed=1, policy_kwargs=policy_kwargs, **arguments)


POLICIES = [
    SPATIAL,
    {"head": "spatial", "hidden_dim": 8, "head_dim": 8},
    {"head": "flat", "hidden_dim": 8},
    {"head": "flat", "recurrent": False, "hidden_dim": 8},
]


@pytest.mark.parametrize("policy_kwargs", POLICIES, ids=str)
@pytest.mark.parametrize("stop", [False, True])
def test_a_rollouts_probabilities_are_those_of_the_update(make_loops, policy_kwargs, stop):
    model = _model(make_loops(stop=stop, look_cost=0.1, looks_per_frame=2), policy_kwargs)
    model.learn(24)
    model.collect_rollouts(model.env, _Silent(model), model.rollout_buffer, 8)
    episodes = model.rollout_buffer.episodes()
    distribution, values = model.policy.evaluate_episodes(
        episodes.observations, looks_per_frame=episodes.looks_per_frame
    )
    taken = episodes.running
    assert bool(taken[:, 0].all())
    assert bool(taken.all()) == (not stop) or stop
    again = distribution.log_prob(episodes.actions)
    torch.testing.assert_close(again[taken], episodes.old_log_probs[taken], rtol=0, atol=1e-5)
    torch.testing.assert_close(values[taken], episodes.old_values[taken], rtol=0, atol=1e-5)


@pytest.mark.parametrize("seen", [{}, {"observation": "glance"}], ids=str)
@pytest.mark.parametrize("policy_kwargs", POLICIES, ids=str)
def test_a_glance_is_kept_once_a_frame_and_learned_from_as_if_each_look_had_its_own(
    make_loops, policy_kwargs, seen
):
    found = []
    for looks in (2, 1):  # as kept, and repeated by hand
        model = _model(make_loops(looks_per_frame=2, stop=True, **seen), policy_kwargs)
        model.learn(0)
        model.collect_rollouts(model.env, _Silent(model), model.rollout_buffer, 8)
        (part,) = model.rollout_buffer._parts
        assert part["observations"]["glance"].shape[:2] == (3, 4)
        if looks == 1:
            glances = part["observations"]["glance"].repeat_interleave(2, dim=1)
            part["observations"]["glance"] = glances
            model.rollout_buffer._looks_per_frame = 1
        episodes = model.rollout_buffer.episodes()
        for some in (episodes, episodes.select(torch.tensor([2, 0]))):
            assert some.looks_per_frame == looks
            loss = model._loss(some, 0.2, defaultdict(list))
            loss.backward()
            found.append([loss.detach()])
        found[-1] += [w.grad for w in model.policy.parameters() if w.grad is not None]
    for pair in (found[0::2], found[1::2]):
        for one, other in zip(*pair, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


class _Silent(BaseCallback):
    def __init__(self, model):
        super().__init__()
        self.init_callback(model)

    def _on_step(self):
        return True


class _Told(_Silent):
    def __init__(self):
        BaseCallback.__init__(self)
        self.steps = []

    def _on_step(self):
        self.steps.append({k: self.locals[k] for k in ("rewards", "dones", "infos")})
        return True


def test_callbacks_are_told_of_steps_that_were_taken_alone(make_loops):
    told = _Told()
    model = _model(make_loops(8, stop=True, look_cost=0.5))
    with torch.no_grad():  # half of all actions stop
        model.policy.actor.skip.score.bias.fill_(np.log(49.0))
    model.learn(32, callback=told)
    assert len(told.steps) == 4
    ended = np.zeros(8, dtype=bool)
    for step in told.steps:
        for row, info in enumerate(step["infos"]):
            assert (info == {}) == ended[row]
            assert ("episode" in info) == step["dones"][row]
            if ended[row]:
                assert step["rewards"][row] == 0.0
        ended |= step["dones"]
    lengths = [
        info["episode"]["l"] for step in told.steps for info in step["infos"] if "episode" in info
    ]
    assert len(lengths) == 8
    assert 1 in lengths
    assert max(lengths) > 1


def test_steps_after_an_end_count_for_no_return_loss_or_statistic():
    running = torch.tensor([[True, True, True], [True, False, False]])
    rewards = torch.tensor([[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]])
    values = torch.tensor([[1.0, 1.0, 1.0], [2.0, 50.0, 50.0]])
    buffer = EpisodeBuffer(gamma=0.5, gae_lambda=1.0, normalize_returns=False, center_steps=True)
    parts = {"observations": torch.zeros(2, 3, 1), "actions": torch.zeros(2, 3, dtype=torch.int64)}
    zeros = torch.zeros(2, 3)
    buffer.add(**parts, log_probs=zeros, values=values, rewards=rewards, running=running)
    episodes = buffer.episodes()
    assert episodes.returns.tolist() == [[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]]
    # Less the values, 2, 3, 3 and 6; less the mean over the episodes that took the step.
    assert episodes.of_steps(episodes.advantages).tolist() == [-2.0, 0.0, 0.0, 2.0]
    assert episodes.select(torch.tensor([1])).running.tolist() == [[True, False, False]]


def test_whatever_idle_steps_hold_the_update_is_the_same(make_loops):
    weights = []
    for noise in (0.0, 1e3):
        model = _model(make_loops(6, stop=True), batch_episodes=None, normalize_advantage=True)
        with torch.no_grad():
            model.policy.actor.skip.score.bias.fill_(np.log(49.0))
        model.learn(0)
        model.collect_rollouts(model.env, _Silent(model), model.rollout_buffer, 4)
        (part,) = model.rollout_buffer._parts
        idle = ~part["running"]
        assert bool(idle.any())
        for seen in part["observations"].values():
            seen[idle] += noise * (seen.abs().max() > 0)
        part["old_log_probs"][idle] -= noise
        model.set_logger(_logger())
        model._update_current_progress_remaining(0, 24)
        model.train()
        weights.append(model.policy.actor.score.weight.clone())
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def _logger():
    from stable_baselines3.common.logger import Logger

    return Logger(folder=None, output_formats=[])


def test_evaluation_equals_stepping_and_does_not_depend_on_the_batch(make_loops, assert_equal):
    model = _model(make_loops(2, stop=True))
    results = [
        evaluate_agent(
            make_loops(rows, stop=True, autoreset_mode="disabled"), model, deterministic=False
        )
        for rows in (2, 3, 5)
    ]
    for result in results[1:]:
        assert_equal(vars(result), vars(results[0]))
    assert results[0].rewards.shape == (5, 4)


def test_a_policy_of_the_glance_alone_acts_where_more_is_observed(make_loops):
    model = _model(make_loops(observation="glance"))
    model.learn(12)
    result = evaluate_agent(make_loops(autoreset_mode="disabled"), model)
    assert result.rewards.shape == (5, 4)


@pytest.mark.parametrize("policy_kwargs", POLICIES, ids=str)
def test_a_saved_policy_acts_as_before(make_loops, tmp_path, policy_kwargs, assert_equal):
    model = _model(make_loops(), policy_kwargs)
    model.learn(12)
    save_policy(model.policy, tmp_path, recognizer_sha256=None)
    loaded = load_policy(tmp_path).policy
    assert loaded.observation_space == model.observation_space
    env = make_loops(autoreset_mode="disabled")
    assert_equal(vars(evaluate_agent(env, loaded)), vars(evaluate_agent(env, model)))


def test_policies_of_the_other_family_are_refused_in_one_line(make_loops, make_vector_env):
    loops, patches = make_loops(autoreset_mode="disabled"), make_vector_env(2)
    of_loops = _model(make_loops())
    of_patches = GruPPO(env=Sb3VecEnvAdapter(patches), policy_kwargs={"hidden_dim": 8})
    with pytest.raises(ValueError, match=r"was trained on glances alone.*use env=patch"):
        evaluate_agent(loops, of_patches)
    with pytest.raises(ValueError, match=r"was trained in a closed loop.*use env=active"):
        evaluate_agent(make_vector_env(2, autoreset_mode="disabled"), of_loops)
    stopping = _model(make_loops(stop=True))
    with pytest.raises(ValueError, match=r"50 actions, one of which ends the episode.*stop=true"):
        evaluate_agent(loops, stopping)
    blind = make_loops(autoreset_mode="disabled", observation="glance")
    with pytest.raises(ValueError, match="shows no belief, origin, patch, progress"):
        evaluate_agent(blind, of_loops)


def test_stopping_needs_the_plain_environment(make_loops):
    wrapped = VecNormalize(Sb3VecEnvAdapter(make_loops(stop=True)), norm_obs=False)
    with pytest.raises(ValueError, match="leave out the wrapper"):
        GruPPO(env=wrapped, policy_kwargs=SPATIAL)


def test_pixels_beside_the_glance_are_refused(make_loops):
    with pytest.raises(ValueError, match="leave patch_pixels=False"):
        _model(make_loops(patch_pixels=True))


def test_the_plain_environment_and_a_wrapped_one_give_the_same_rollouts(make_loops):
    actions = []
    for wrap in (lambda env: env, lambda env: VecNormalize(env, norm_obs=False, norm_reward=False)):
        env = wrap(Sb3VecEnvAdapter(make_loops(looks_per_frame=2)))
        model = GruPPO(env=env, seed=1, policy_kwargs=SPATIAL, normalize_returns=False)
        model.learn(24)
        actions.append(model.rollout_buffer.episodes().actions)
    assert actions[0].shape == (3, 8)
    torch.testing.assert_close(*actions, rtol=0, atol=0)
