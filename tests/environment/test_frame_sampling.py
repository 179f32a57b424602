"""Which frames of a video make a clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adafocus_env.data.frame_sampling import (
    FRAME_SAMPLINGS,
    center_segment_indices,
    random_segment_indices,
)

# REFERENCE section 6, examples of the validation rule at 16 segments; frames are counted from 1.
PUBLISHED_CENTERS = {
    100: [4, 10, 16, 22, 29, 35, 41, 47, 54, 60, 66, 72, 79, 85, 91, 97],
    300: [10, 29, 47, 66, 85, 104, 122, 141, 160, 179, 197, 216, 235, 254, 272, 291],
    5: [1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
}


@pytest.mark.parametrize(("num_video_frames", "published"), PUBLISHED_CENTERS.items())
def test_center_frames_are_the_published_ones(num_video_frames: int, published: list[int]) -> None:
    indices = center_segment_indices(num_video_frames, 16)
    assert (indices + 1).tolist() == published


@pytest.mark.parametrize("sampling", FRAME_SAMPLINGS)
@pytest.mark.parametrize(
    ("num_video_frames", "expected"),
    [(1, [0, 0, 0, 0]), (3, [0, 1, 2, 2]), (4, [0, 1, 2, 3])],
)
def test_short_videos_give_all_frames_and_repeat_the_last(
    sampling: str, num_video_frames: int, expected: list[int]
) -> None:
    rng = np.random.default_rng(0)
    assert FRAME_SAMPLINGS[sampling](num_video_frames, 4, rng).tolist() == expected


def test_random_frames_lie_in_their_segments_and_never_in_the_remainder() -> None:
    # 11 frames in 4 segments: 2 a segment, frames 8, 9, 10 are the unused remainder.
    rng = np.random.default_rng(0)
    drawn = np.stack([random_segment_indices(11, 4, rng) for _ in range(100)])
    seen = [set(column.tolist()) for column in drawn.T]
    assert seen == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]


def test_random_frames_depend_on_the_generator_alone() -> None:
    first = random_segment_indices(100, 16, np.random.default_rng(3)).tolist()
    assert random_segment_indices(100, 16, np.random.default_rng(3)).tolist() == first
    assert random_segment_indices(100, 16, np.random.default_rng(4)).tolist() != first


def test_center_frames_draw_nothing() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    center_segment_indices(100, 16, rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("sampling", FRAME_SAMPLINGS)
@given(num_video_frames=st.integers(1, 500), num_frames=st.integers(1, 64))
def test_frames_exist_and_do_not_go_back(
    sampling: str, num_video_frames: int, num_frames: int
) -> None:
    rng = np.random.default_rng(0)
    indices = FRAME_SAMPLINGS[sampling](num_video_frames, num_frames, rng)
    assert indices.dtype == np.int64
    assert indices.shape == (num_frames,)
    assert indices[0] >= 0
    assert indices[-1] < num_video_frames
    assert (np.diff(indices) >= 0).all()


@pytest.mark.parametrize("sampling", FRAME_SAMPLINGS)
@pytest.mark.parametrize(("num_video_frames", "num_frames"), [(0, 4), (-1, 4), (4, 0)])
def test_a_clip_without_frames_is_refused(
    sampling: str, num_video_frames: int, num_frames: int
) -> None:
    with pytest.raises(ValueError, match=f"got {num_frames} of {num_video_frames}"):
        FRAME_SAMPLINGS[sampling](num_video_frames, num_frames, np.random.default_rng(0))
