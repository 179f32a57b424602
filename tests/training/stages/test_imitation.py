"""`imitate=`: before it is rewarded a policy learns to repeat another agent's looks."""

import json

import numpy as np
import pytest
from rich.console import Console

from adafocus_env.envs import ActiveVisionVectorEnv, PatchLocalizationVectorEnv
from agents import GruPPO, Sb3VecEnvAdapter, evaluate_agent
from agents.baselines.simple import SweepAgent
from train.config.keys import ConfigError
from train.runs.progress import ProgressDisplay
from train.stages.policy.imitation import _play, imitate

KWARGS = {"head": "spatial", "recurrent": False, "head_dim": 16, "orthogonal": True}


def _model(env, **arguments):
    adapter = Sb3VecEnvAdapter(env)
    return GruPPO(env=adapter, policy_kwargs=KWARGS, seed=0, learning_rate=0.03, **arguments)


def _imitate(model, env, recognizer, name, episodes):
    display = ProgressDisplay(Console(quiet=True))
    with display.part("imitating", episodes) as progress:
        imitate(model, env, recognizer, name=name, episodes=episodes, seed=0, progress=progress)


@pytest.mark.parametrize("stop", [False, True])
def test_a_policy_repeats_what_it_was_shown_and_expects_what_that_earned(
    tiny_recognizer, make_videos, stop
):
    rules = {"num_envs": 5, "reward": "information", "stop": stop, "looks_per_frame": 2}
    env = ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)
    model = _model(env, gamma=1.0)
    _imitate(model, env, tiny_recognizer, "fixed:8", 200)
    judged = ActiveVisionVectorEnv.from_parts(
        tiny_recognizer, make_videos(), autoreset_mode="disabled", **rules
    )
    found = evaluate_agent(judged, model.policy)
    assert np.mean(found.actions == 8) > 0.9
    observations, _ = judged.reset(seed=0)
    batch = {name: judged.core.observe_loop()[name] for name in observations}
    values = model.policy.forward(batch)[1].detach().numpy()
    earned = found.rewards.sum(axis=1).mean()
    assert np.abs(values.mean() - earned) < 0.5 * np.abs(earned)
    model.learn(5 * env.num_decisions)  # and goes on as if nothing had been


def test_an_agent_that_counts_its_looks_is_repeated_from_look_to_look(tiny_recognizer, make_videos):
    rules = {"num_envs": 3, "looks_per_frame": 2}
    env = ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)
    sweep = SweepAgent(env.core)
    env.reset(seed=0)
    _, actions, returns, _ = _play(_model(env), env, sweep)
    path = sweep.looks(np.arange(env.num_decisions))
    assert len(set(path)) > 1
    assert actions.tolist() == [path.tolist()] * 3
    assert returns.shape == (3, env.num_decisions)


def test_open_loops_and_agents_that_teach_nothing_are_refused(tiny_recognizer, make_videos):
    videos = make_videos()
    loops = ActiveVisionVectorEnv.from_parts(tiny_recognizer, videos, num_envs=2)
    model = _model(loops)
    for name, message in (
        ("ppo", "must be an agent that does not learn"),
        ("random_offsets", "looks at any pixel"),
        ("fixed:49", "not in fixed:0..fixed:48"),
    ):
        with pytest.raises(ValueError, match=message):
            _imitate(model, loops, tiny_recognizer, name, 2)
    flat = PatchLocalizationVectorEnv.from_parts(tiny_recognizer, videos, num_envs=2)
    with pytest.raises(ConfigError, match="imitate=center is for algo=gru_ppo with env=active"):
        _imitate(model, flat, tiny_recognizer, "center", 2)


@pytest.mark.slow
def test_stage_2_begins_with_it_and_a_continued_run_does_not_repeat_it(
    run_tiny, handed_on, tmp_path
):
    loop = ("env=active", "reward=information", "algo.preset=loop", "imitate=greedy_oracle")
    given = (f"recognizer={handed_on['stage1']}", *loop, "imitate_epochs=1", "resume=auto")
    out = run_tiny("stage2", tmp_path / "run", *given).out
    assert "imitating greedy_oracle" in out
    found = json.loads((tmp_path / "run" / "validation.json").read_text())
    assert found["evaluations"]
