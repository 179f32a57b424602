"""Episodes of closed loops end where the belief is sure enough."""

import numpy as np
import pytest

from adafocus_env.envs import ActiveVisionVectorEnv
from agents.baselines.simple import RandomAgent, RandomOffsets, SweepAgent
from agents.baselines.stopping import UntilSure
from agents.evaluation import evaluate_agent


@pytest.fixture(scope="module")
def loops(tiny_recognizer, make_videos):
    """Makes closed loops of eight looks over five videos."""

    def make(**rules):
        rules = {"num_envs": 5, "looks_per_frame": 2, "autoreset_mode": "disabled", **rules}
        return ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **rules)

    return make


def _beliefs(evaluation):
    shifted = np.exp(evaluation.logits - evaluation.logits.max(axis=2, keepdims=True))
    return (shifted / shifted.sum(axis=2, keepdims=True)).max(axis=2)


@pytest.mark.parametrize("agent", [SweepAgent, RandomOffsets, RandomAgent])
@pytest.mark.parametrize("observation", [("glance",), ("glance", "belief")])
def test_an_episode_is_the_whole_one_up_to_the_first_look_that_is_sure(loops, agent, observation):
    env = loops(observation=observation, reward="information", look_cost=0.1)
    of = env.single_action_space if agent is RandomAgent else env.core
    whole = evaluate_agent(env, agent(of))
    threshold = float(np.quantile(_beliefs(whole), 0.6))
    ended = evaluate_agent(env, UntilSure(agent(of), threshold))
    sure = _beliefs(whole) >= threshold
    last = np.where(sure.any(axis=1), sure.argmax(axis=1), 7)
    assert 0 < last.min() + last.max() < 14  # some end early, and not all at once
    for video, look in enumerate(last):
        seen = slice(look + 1)
        assert ended.focused()[video].tolist() == [step <= look for step in range(8)]
        np.testing.assert_array_equal(ended.boxes[video, seen], whole.boxes[video, seen])
        rewards = ended.rewards[video]
        np.testing.assert_allclose(rewards[seen], whole.rewards[video, seen], atol=1e-5)
        assert not rewards[look + 1 :].any()
        np.testing.assert_allclose(ended.logits[video, -1], whole.logits[video, look], atol=1e-5)


def test_where_policies_may_stop_themselves_a_threshold_does_the_same(loops):
    plain, stopping = loops(), loops(stop=True)
    envs = plain, stopping
    ended = [evaluate_agent(env, UntilSure(SweepAgent(env.core), 0.36)) for env in envs]
    assert not ended[0].focused().all()
    np.testing.assert_array_equal(ended[0].boxes, ended[1].boxes)
    # One look is the least, however low the threshold: before it nothing is believed.
    least = evaluate_agent(plain, UntilSure(SweepAgent(plain.core), 1e-6))
    assert least.focused().sum(axis=1).tolist() == [1] * 5


def test_thresholds_that_are_no_beliefs_and_open_loops_are_refused(loops, make_vector_env):
    for threshold in (0.0, -0.5, 1.01, float("nan")):
        with pytest.raises(ValueError, match="above 0 and up to 1"):
            UntilSure(SweepAgent(loops().core), threshold)
    env = make_vector_env(5, autoreset_mode="disabled")
    with pytest.raises(ValueError, match="until ends episodes of closed loops; use env=active"):
        evaluate_agent(env, UntilSure(SweepAgent(env.core), 0.9))
