"""Judges: every video by its own classifier, whatever the row, step by step and at once."""

import numpy as np
import pytest
import torch

from adafocus_env.envs import ActiveVisionVectorEnv, PatchLocalizationVectorEnv
from adafocus_env.features import Judges


@pytest.fixture
def others(tiny_recognizer, make_recognizer):
    """Two recognizers with the networks of `tiny_recognizer` and other classifiers."""
    found = []
    for seed in (1, 2):
        judge = make_recognizer(seed)
        judge.glancer.load_state_dict(tiny_recognizer.glancer.state_dict())
        judge.focuser.load_state_dict(tiny_recognizer.focuser.state_dict())
        found.append(judge)
    return found


@pytest.fixture
def make(tiny_recognizer, make_videos):
    def make_env(recognizer=None, **rules):
        return PatchLocalizationVectorEnv.from_parts(
            recognizer or tiny_recognizer, make_videos(4), num_envs=4, reward="expected", **rules
        )

    return make_env


def _play(env, actions):
    env.reset(seed=0, options={"video_index": np.arange(4)})
    return env.play(actions)


def test_each_row_is_judged_by_its_video_s_classifier(make, others):
    actions = np.random.default_rng(0).integers(0, 49, (4, 4))
    judged = _play(make(judges=Judges(others, (1, 0, 1, 0))), actions)
    alone = [_play(make(judge), actions) for judge in others]
    for row, judge in enumerate((1, 0, 1, 0)):
        torch.testing.assert_close(judged.logits[row], alone[judge].logits[row])
        torch.testing.assert_close(judged.rewards[row], alone[judge].rewards[row])


def test_steps_give_what_whole_episodes_do(make, others):
    env = make(judges=Judges(others, (0, 1, 1, 0)), autoreset_mode="disabled")
    actions = np.random.default_rng(0).integers(0, 49, (4, 4))
    played = _play(env, actions)
    env.reset(seed=0, options={"video_index": np.arange(4)})
    for t in range(4):
        _, rewards, *_ = env.step(actions[:, t])
        np.testing.assert_allclose(rewards, played.rewards[:, t].numpy(), rtol=0, atol=1e-5)


def test_in_a_closed_loop_the_belief_is_that_of_the_video_s_classifier(
    tiny_recognizer, make_videos, others
):
    def seen(recognizer, judges=None):
        env = ActiveVisionVectorEnv.from_parts(
            recognizer, make_videos(4), num_envs=4, judges=judges, autoreset_mode="disabled"
        )
        env.reset(seed=0, options={"video_index": np.arange(4)})
        observation, rewards, *_ = env.step(np.arange(4))
        return observation["belief"], rewards

    judged = seen(tiny_recognizer, Judges(others, (1, 0, 1, 0)))
    alone = [seen(judge) for judge in others]
    for row, judge in enumerate((1, 0, 1, 0)):
        for here, there in zip(judged, alone[judge], strict=True):
            np.testing.assert_allclose(here[row], there[row], rtol=0, atol=1e-6)


def test_judges_that_do_not_fit_are_refused(make, make_recognizer, others):
    with pytest.raises(ValueError, match="judges for 3 videos, and the split has 4"):
        make(judges=Judges(others, (0, 1, 0)))
    with pytest.raises(ValueError, match="judge 1 has another glancer or focuser"):
        make(judges=Judges([others[0], make_recognizer(5)], (0, 0, 0, 0)))
