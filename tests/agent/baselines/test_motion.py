"""`motion`: differences of frames and sums under patches, by hand; one plan an episode."""

import numpy as np
import torch

from agents.baselines.motion import MotionAgent, frame_differences, patch_sums


def test_a_frame_is_compared_with_the_one_before_and_the_first_with_the_second():
    frames = torch.tensor([[[1.0, 2.0]], [[4.0, 2.0]], [[4.0, 0.0]]])
    assert frame_differences(frames).tolist() == [[[3.0, 0.0]], [[3.0, 0.0]], [[0.0, 2.0]]]
    assert frame_differences(frames[:1]).tolist() == [[[0.0, 0.0]]]


def test_a_position_scores_the_sum_under_its_patch():
    maps = torch.arange(9.0).reshape(1, 3, 3)
    # Rows 0..1 and columns 0..1: 0 + 1 + 3 + 4; rows 1..2 and columns 1..2: 4 + 5 + 7 + 8.
    offsets = torch.tensor([[0, 0], [1, 1]])
    assert patch_sums(maps, offsets, patch_size=2).tolist() == [[8.0, 24.0]]


def test_it_looks_where_the_picture_changes(make_vector_env, make_videos):
    videos = make_videos(2)
    videos.frames[:] = videos.frames[:, :1]
    videos.frames[0, 4:6, :, 0:8, 0:8] += 100  # only frame 2 differs, in the upper left corner
    videos.frames[1, 2:4, :, 32:40, 0:8] += 100  # only frame 1, in the lower left one
    env = make_vector_env(2, videos, grid_size=7)
    env.reset(seed=0, options={"video_index": np.array([0, 1])})
    agent, state, looks = MotionAgent(env.core), None, []
    for _ in range(4):
        actions, state = agent.predict(np.zeros((2, 1)), state)
        looks.append(actions.tolist())
    lower_left = next(t for t in range(42, 49) if t % 7 == 0)
    assert [step[0] for step in looks][2:] == [0, 0]
    assert [step[1] for step in looks][:3] == [lower_left] * 3
    # Where nothing changes, the first position.
    assert looks[3][1] == 0
    assert looks[1][0] == 0
