"""Which frames make a clip in the Something-Something family; examples by hand, counted from 0."""

import numpy as np
import pytest

from adafocus_env.data.sampling.segments import FRAME_SAMPLINGS, even_indices
from adafocus_env.data.sampling.shift import (
    SHIFT_SAMPLINGS,
    center_or_first_indices,
    middle_indices,
    random_or_first_indices,
    sampling_rules,
)


def test_center_frames_of_forty_in_eight_segments_are_the_middles():
    assert center_or_first_indices(40, 8).tolist() == [2, 7, 12, 17, 22, 27, 32, 37]


@pytest.mark.parametrize("sampling", ["center", "random"])
def test_videos_with_fewer_frames_give_their_first_one(sampling):
    rng = np.random.default_rng(0)
    assert SHIFT_SAMPLINGS[sampling](5, 8, rng).tolist() == [0] * 8


def test_at_exactly_eight_frames_validation_repeats_the_first_and_training_takes_all():
    assert center_or_first_indices(8, 8).tolist() == [0] * 8
    assert random_or_first_indices(8, 8, np.random.default_rng(0)).tolist() == list(range(8))


def test_the_test_rule_repeats_frames_of_short_videos():
    # n / T = 1/2: int(1/4 + i/2).
    assert middle_indices(4, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_for_twelve_frames_the_order_of_operations_chooses_another_frame_at_125_lengths():
    differ = [n for n in range(13, 3000) if (middle_indices(n, 12) != _exact(n, 12)).any()]
    assert differ[:6] == [16, 32, 64, 88, 104, 128]
    assert len(differ) == 125
    assert all((middle_indices(n, 8) == even_indices(n, 8)).all() for n in range(1, 3000))


def _exact(n, frames):
    return n * (2 * np.arange(frames) + 1) // (2 * frames)


def test_the_rules_follow_from_whether_there_are_frames_for_glances():
    assert sampling_rules(None) is FRAME_SAMPLINGS
    assert sampling_rules(8) is SHIFT_SAMPLINGS
    assert FRAME_SAMPLINGS.keys() == SHIFT_SAMPLINGS.keys()
