"""Where a policy looks, by hand: entropy, histogram, movement, collapse."""

import math

import numpy as np
import pytest

from adafocus_env.envs import PatchGrid
from agents.evaluation import Evaluation
from train.evaluation.diagnostics import (
    diagnostic_warnings,
    diagnostics,
    entropy_bits,
    nearest_positions,
)

# Offsets 0, 10, 20 and 30 pixels.
GRID = PatchGrid(4, 40, 10)


def _found(actions):
    """The diagnostics of episodes that look at grid positions."""
    looks = np.array(actions)
    corners = np.stack([looks // 4, looks % 4], axis=2) * 10
    count, zeros = np.zeros(len(looks), np.int64), np.zeros(looks.shape)
    evaluation = Evaluation(
        video_index=np.arange(len(looks)),
        draw=count,
        label=count,
        actions=looks,
        rewards=zeros,
        confidences=zeros,
        logits=np.zeros((*looks.shape, 2), np.float32),
        boxes=np.concatenate([corners, np.full_like(corners, 10)], axis=2),
    )
    return diagnostics(evaluation, GRID)


def test_the_histogram_has_the_shares_of_all_looks_as_they_lie_in_the_frame():
    found = _found([[0, 3], [0, 6]])
    assert found["location_histogram"] == [
        [0.5, 0.0, 0.0, 0.25], [0.0, 0.0, 0.25, 0.0], [0.0] * 4, [0.0] * 4,
    ]  # fmt: skip
    # Half, a quarter, a quarter: 0.5 * 1 + 2 * 0.25 * 2 bits.
    assert found["action_entropy_bits"] == 1.5
    assert found["max_entropy_bits"] == 4.0
    assert (found["top_position"], found["top_position_share"]) == (0, 0.5)
    boxes = np.array([[[0, 4, 10, 10], [26, 5, 10, 10]]])
    # Row 0, column 4 px -> 0; row 26 px -> 3, column 5 px is as near to 0 as to 10: the first.
    assert nearest_positions(boxes, GRID).tolist() == [[0, 12]]
    assert entropy_bits(np.array([1.0, 0.0])) == 0.0
    assert entropy_bits(np.full(4, 0.25)) == 2.0


def test_movement_is_the_distance_of_patches_and_the_same_places_are_a_routine():
    # (0, 0) to (10, 0): 10 pixels; then to (30, 20): the diagonal of 20.
    found = _found([[0, 4, 14]])
    assert found["movement_pixels"] == pytest.approx((10 + 20 * math.sqrt(2)) / 2)
    assert _found([[5]])["movement_pixels"] == 0.0
    sweep = _found([[0, 3, 12, 15]] * 3)
    assert (sweep["same_place_share"], sweep["routine"], sweep["collapsed"]) == (1.0, True, False)
    # In the first frame 2 of 4 agree, in the second all.
    free = _found([[0, 1], [0, 1], [5, 1], [6, 1]])
    assert (free["same_place_share"], free["routine"]) == (0.75, False)


@pytest.mark.parametrize(("at_zero", "collapsed"), [(5, False), (6, True)])
def test_more_than_half_of_the_looks_at_one_position_are_a_collapse(at_zero, collapsed):
    actions = [[0]] * at_zero + [[i + 1] for i in range(10 - at_zero)]
    assert _found(actions)["collapsed"] is collapsed


def test_the_warning_says_where_and_above_which_share():
    found = _found([[7, 7], [7, 7], [7, 0]])
    (warning,) = diagnostic_warnings("ppo", found)
    assert warning == "ppo has collapsed: 83% of its looks are at position 7 (warned above 50%)"
    (warning,) = diagnostic_warnings("ppo", _found([[0, 3, 12]] * 3))
    assert "the same places whatever the video shows" in warning
    assert diagnostic_warnings("ppo", _found([[0, 3], [5, 9], [2, 1]])) == []
