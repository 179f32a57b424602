"""Grid positions and continuous locations."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.error import InvalidAction
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adafocus_env.envs import ContinuousLocations, PatchGrid
from adafocus_env.envs.actions import locations_of, make_locations

# The published offsets of the 7 grid lines at side 224; other grids are in tests/parity.
PUBLISHED_LINES = {
    96: [0, 21, 42, 64, 85, 106, 128],
    128: [0, 16, 32, 48, 64, 80, 96],
    144: [0, 13, 26, 40, 53, 66, 80],
    160: [0, 10, 21, 32, 42, 53, 64],
    176: [0, 8, 16, 24, 32, 40, 48],
    192: [0, 5, 10, 16, 21, 26, 32],
}


def test_grid_of_seven_has_the_published_offsets():
    for patch_size, line in PUBLISHED_LINES.items():
        offsets = PatchGrid(7, 224, patch_size).all_offsets()
        assert offsets.dtype == torch.int64
        assert offsets.tolist() == [[top, left] for top in line for left in line]


def test_action_ten_is_row_one_column_three_and_offsets_keep_the_leading_shape_of_the_actions():
    # 112 - 32 = 80 free pixels; 1 * 80 // 6 = 13, 3 * 80 // 6 = 40.
    assert PatchGrid(7, 112, 32).offsets(torch.tensor(10)).tolist() == [13, 40]
    assert PatchGrid(4, 112, 32).offsets(torch.zeros(3, 5, dtype=torch.int64)).shape == (3, 5, 2)
    assert ContinuousLocations(112, 32).offsets(torch.zeros(3, 5, 2)).shape == (3, 5, 2)


@pytest.mark.parametrize(
    ("grid_size", "middle"), [(4, 5), (5, 12), (6, 14), (7, 24), (8, 27), (9, 40), (10, 44)]
)
def test_center_is_the_middle_or_the_upper_left_of_the_four_and_the_last_touches_the_corner(
    grid_size, middle
):
    grid = PatchGrid(grid_size, 113, 32)
    assert grid.center_action == middle
    assert grid.action_space == spaces.Discrete(grid_size**2)
    assert grid.all_offsets()[-1].tolist() == [81, 81]


def test_grid_sizes_outside_four_to_ten_are_refused():
    for grid_size in (-1, 0, 3, 11):
        with pytest.raises(ValueError, match=f"grid_size must be 4 to 10, not {grid_size}"):
            PatchGrid(grid_size, 112, 32)


@pytest.mark.parametrize(
    ("action", "offset"),
    [
        ((0.0, 0.0), (0, 0)),
        ((1.0, 1.0), (80, 80)),
        ((0.5, 0.25), (40, 20)),
        ((0.999, 0.0124), (79, 0)),  # 79.92 and 0.992 are rounded down
    ],
)
def test_continuous_actions_are_row_and_column_rounded_down(action, offset):
    locations = ContinuousLocations(112, 32)
    assert tuple(locations.offsets(torch.tensor(action)).tolist()) == offset


def test_continuous_one_reaches_the_last_position_that_fits():
    for side in (*PUBLISHED_LINES, 1, 223, 224):
        last = ContinuousLocations(224, side).offsets(torch.ones(2)).tolist()
        assert last == [224 - side, 224 - side]


@given(
    actions=hnp.arrays(np.float32, (6, 2), elements=st.floats(0.0, 1.0, width=32)),
    frame_size=st.integers(1, 400),
    data=st.data(),
)
def test_every_continuous_action_gives_a_patch_inside_the_frame(actions, frame_size, data):
    patch_size = data.draw(st.integers(1, frame_size))
    locations = ContinuousLocations(frame_size, patch_size)
    offsets = locations.offsets(locations.check(actions, (6,)))
    assert int(offsets.min()) >= 0
    assert int(offsets.max()) + patch_size <= frame_size


def test_grid_takes_integers_of_any_width_and_refuses_what_is_no_position():
    for dtype in (np.int8, np.uint8, np.int32, np.uint64):
        assert PatchGrid(7, 112, 32).check(np.array([0, 48], dtype), (2,)).tolist() == [0, 48]
    for actions, message in (
        ([49], r"action 49 is not in 0\.\.48, the positions of a 7x7 grid"),
        ([-1], r"action -1 is not in 0\.\.48"),
        ([3, 3], r"shape \(1,\), got int64 of shape \(2,\)"),
        ([[3]], r"shape \(1,\), got int64 of shape \(1, 1\)"),
        ([3.0], "integer actions .* got float64"),
        ([True], "integer actions .* got bool"),
        (["3"], "integer actions"),
        ([None], "integer actions"),
    ):
        with pytest.raises(InvalidAction, match=message):
            PatchGrid(7, 112, 32).check(actions, (1,))


def test_continuous_locations_refuse_what_is_no_fraction():
    for actions, message in (
        ([[0.5, 1.01]], r"must lie in \[0, 1\]"),
        ([[-0.01, 0.5]], r"must lie in \[0, 1\]"),
        ([[np.nan, 0.5]], r"must lie in \[0, 1\]"),
        ([[np.inf, 0.5]], r"must lie in \[0, 1\]"),
        ([0.5, 0.5], r"shape \(1, 2\), got float64 of shape \(2,\)"),
        ([[0.5]], r"shape \(1, 2\)"),
        ([["0", "1"]], r"shape \(1, 2\)"),
        ([[True, False]], r"got bool"),
        ([[1j, 0.0]], r"got complex128"),
    ):
        with pytest.raises(InvalidAction, match=message):
            ContinuousLocations(112, 32).check(actions, (1,))


GRID = PatchGrid(7, 112, 32)  # 80 free pixels


@pytest.mark.parametrize(
    ("space", "action", "box"),
    [
        (spaces.Discrete(49), 10, [13, 40, 32, 32]),
        (spaces.Discrete(50), 10, [13, 40, 32, 32]),
        (spaces.Discrete(50), 49, [0, 0, 0, 0]),
        (spaces.Box(0.0, 1.0, (2,)), [0.5, 1.0], [40, 80, 32, 32]),
        (spaces.Box(-1.0, 1.0, (2,)), [0.0, 1.5], [40, 80, 32, 32]),
    ],
    ids=str,
)
def test_what_the_actions_of_a_policy_look_at_follows_from_its_action_space(space, action, box):
    choice = locations_of(space, GRID).choice(torch.tensor(action))
    assert choice.boxes(32).tolist() == box


def test_actions_of_another_grid_and_unknown_locations_are_refused():
    for space in (spaces.Discrete(36), spaces.Discrete(51), spaces.Box(0, 1, (3,))):
        with pytest.raises(ValueError, match="are no actions of a 7x7 grid"):
            locations_of(space, GRID)
    with pytest.raises(ValueError, match="'grid', 'continuous' or 'skip', not 'hexagons'"):
        make_locations("hexagons", GRID)
