"""Which frames of a video make a clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adafocus_env.data.sampling.segments import (
    FRAME_SAMPLINGS,
    center_segment_indices,
    dense_indices,
    even_indices,
    random_segment_indices,
)
from adafocus_env.data.sampling.shift import SHIFT_SAMPLINGS

# The published validation rule at 16 segments; frames are counted from 1.
PUBLISHED_CENTERS = {
    100: [4, 10, 16, 22, 29, 35, 41, 47, 54, 60, 66, 72, 79, 85, 91, 97],
    300: [10, 29, 47, 66, 85, 104, 122, 141, 160, 179, 197, 216, 235, 254, 272, 291],
    5: [1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
}


def test_center_frames_are_the_published_ones_and_short_videos_repeat_their_last_frame():
    for num_video_frames, published in PUBLISHED_CENTERS.items():
        assert (center_segment_indices(num_video_frames, 16) + 1).tolist() == published
    rng = np.random.default_rng(0)
    for frames, expected in ((1, [0, 0, 0, 0]), (3, [0, 1, 2, 2]), (4, [0, 1, 2, 3])):
        for sampling in ("random", "center"):
            assert FRAME_SAMPLINGS[sampling](frames, 4, rng).tolist() == expected


def test_random_frames_lie_in_their_segments_and_never_in_the_remainder():
    # 11 frames in 4 segments: 2 a segment, frames 8, 9, 10 are the unused remainder.
    rng = np.random.default_rng(0)
    drawn = np.stack([random_segment_indices(11, 4, rng) for _ in range(100)])
    seen = [set(column.tolist()) for column in drawn.T]
    assert seen == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]


def test_evaluation_frames_draw_nothing():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    for sampling in ("center", "test"):
        FRAME_SAMPLINGS[sampling](100, 16, rng)
        FRAME_SAMPLINGS[sampling](10, 16, rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("sampling", FRAME_SAMPLINGS)
@given(num_video_frames=st.integers(1, 500), num_frames=st.integers(1, 64))
def test_frames_exist_and_do_not_go_back_but_dense_ones(sampling, num_video_frames, num_frames):
    rng = np.random.default_rng(0)
    indices = FRAME_SAMPLINGS[sampling](num_video_frames, num_frames, rng)
    assert indices.dtype == np.int64
    assert indices.shape == (num_frames,)
    assert indices.min() >= 0
    assert indices.max() < num_video_frames
    assert sampling == "dense" or (np.diff(indices) >= 0).all()


@pytest.mark.parametrize("sampling", [*FRAME_SAMPLINGS.values(), *SHIFT_SAMPLINGS.values()])
def test_a_clip_without_frames_is_refused(sampling):
    for num_video_frames, num_frames in ((0, 4), (-1, 4), (4, 0)):
        with pytest.raises(ValueError, match=f"got {num_frames} of {num_video_frames}"):
            sampling(num_video_frames, num_frames, np.random.default_rng(0))


def test_test_frames_are_the_validation_ones_of_long_videos_and_spread_evenly_over_short_ones():
    for n in (17, 100, 300):
        assert even_indices(n, 16).tolist() == center_segment_indices(n, 16).tolist()
    for n, expected in (
        (1, [0, 0, 0, 0]),
        (3, [0, 1, 1, 2]),  # .75 * (.5, 1.5, 2.5, 3.5) = .375, 1.125, 1.875, 2.625
        (4, [0, 1, 2, 3]),
        (6, [0, 2, 3, 5]),  # 1.5 * ... = .75, 2.25, 3.75, 5.25
    ):
        assert even_indices(n, 4).tolist() == expected


def test_dense_frames_begin_at_random_and_have_a_fixed_stride():
    # n = 70: m = 1 + 70 - 64 = 7, the start is one of 0..5; stride 64 // 16 = 4.
    rng = np.random.default_rng(0)
    drawn = {tuple(dense_indices(70, 16, rng).tolist()) for _ in range(200)}
    assert drawn == {tuple(range(start, start + 64, 4)) for start in range(6)}


def test_dense_frames_of_up_to_65_frames_begin_at_0_and_go_round_short_videos():
    # m = 1, or m = 2 of which the last start is never drawn.
    rng = np.random.default_rng(0)
    for num_video_frames in (64, 65) * 5:
        assert dense_indices(num_video_frames, 16, rng).tolist() == list(range(0, 64, 4))
    # Stride 64 // 8 = 8: 0 8 16 24 32 40 48 56 modulo 20.
    assert dense_indices(20, 8, rng).tolist() == [0, 8, 16, 4, 12, 0, 8, 16]
    with pytest.raises(ValueError, match="num_frames=65 is too many; use sampling random"):
        dense_indices(100, 65, rng)
