"""What every constant look brings equals playing it."""

import numpy as np

from agents.baselines.fixed_position import constant_look_confidences
from agents.baselines.simple import FixedAgent
from agents.evaluation import evaluate_agent


def test_constant_looks_bring_what_playing_them_does_whatever_the_batch(
    make_vector_env, make_videos
):
    env = make_vector_env(2, make_videos(5), grid_size=4, autoreset_mode="disabled")
    done = []
    found = constant_look_confidences(env, seed=4, progress=done.append)
    assert found.shape == (5, 16)
    assert done == [2, 2, 1]
    for position in (0, 4, 15):
        played = evaluate_agent(env, FixedAgent(position), seed=4)
        np.testing.assert_allclose(
            found[:, position], played.confidences.mean(axis=1), rtol=0, atol=1e-6
        )
