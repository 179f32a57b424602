"""The third built-in task: what its frames show, and why single ones do not tell the class."""

import cv2
import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs.drawing import DIGITS, NO_DIGITS
from adafocus_env.data.glyphs.order import (
    CLASS_NAMES,
    SPLITS,
    draw_order_scene,
    order_digits,
    render_order_video,
)

VAL_SEED = SPLITS["val"][0]
OPTIONS = VideoOptions(num_frames=4, num_glance_frames=4, frame_size=112)
PATCH, STEP = 48, 64 / 6  # of the shipped model on a grid of 7x7


@pytest.fixture(scope="module")
def scenes():
    """Marked shapes and the first frame of the second marks."""
    return [draw_order_scene(np.random.default_rng(seed), seed % 10) for seed in range(60)]


def test_a_class_is_a_pair_of_digits_in_one_of_two_orders():
    assert [order_digits(label) for label in range(10)] == [
        *((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4), (6, 7), (7, 6), (8, 9), (9, 8))
    ]
    assert CLASS_NAMES[0] == "digit 0 then 1"
    assert CLASS_NAMES[7] == "digit 7 then 6"


def test_the_target_shows_its_two_digits_one_after_the_other(scenes):
    for seed, (marked, change) in enumerate(scenes):
        first, second = order_digits(seed % 10)
        shown = [marked[-1].at(t, change).segments for t in range(16)]
        assert shown == [DIGITS[first]] * change + [DIGITS[second]] * (16 - change)


def test_they_change_after_frame_6_to_10_so_that_both_are_in_every_clip_of_four(scenes):
    assert {change for _, change in scenes} == {6, 7, 8, 9, 10}
    videos = open_videos("glyphs_order", "val", OPTIONS)
    # Middles of segments of four frames: 2, 6, 10, 14; the earliest change is at 6.
    frames, _, centers = render_order_video(VAL_SEED, 4)
    clip = videos.clip(4, 9)
    np.testing.assert_array_equal(clip.frames.numpy(), frames[2::4].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(clip.glance_frames.numpy(), clip.frames.numpy())
    found = videos.target_centers(4)
    np.testing.assert_array_equal(found, centers[2::4])


def test_the_reverse_class_has_the_same_frames_in_the_other_order():
    """So an average over frames that do not see each other cannot tell them apart."""
    (forward, change), (backward, _) = (
        draw_order_scene(np.random.default_rng(7), label) for label in (4, 5)
    )
    for one, other in zip(forward[:-1], backward[:-1], strict=True):
        assert _look(one.at(0, change)) == _look(other.at(0, change))
    before, after = forward[-1].at(0, change), forward[-1].at(15, change)
    assert _look(before) == _look(backward[-1].at(15, change))
    assert _look(after) == _look(backward[-1].at(0, change))


def _look(shape):
    return shape.kind, shape.size, shape.color, shape.ink, shape.segments


def test_distractors_are_of_other_colours_and_half_of_them_carry_digits(scenes):
    others = [item for marked, _ in scenes for item in marked[:-1]]
    hues = [_hue(item.shape.color) for item in others]
    assert min(hues) >= 55 > 35 >= max(_hue(marked[-1].shape.color) for marked, _ in scenes)
    with_digits = [item for item in others if item.first in DIGITS]
    assert 0.35 < len(with_digits) / len(others) < 0.65
    assert all(item.second in DIGITS for item in with_digits)
    rest = [item for item in others if item.first not in DIGITS]
    assert all(item.first in NO_DIGITS and item.second in NO_DIGITS for item in rest)


def _hue(color):
    return int(cv2.cvtColor(np.array([[color]], np.uint8), cv2.COLOR_RGB2HSV)[0, 0, 0])


def test_one_grid_patch_holds_the_targets_digits_in_all_frames():
    """Within 9 pixels of the middle: half a digit is 0.62 * 12 = 7.4 high, its strokes 2 wide."""
    corners = np.arange(7) * STEP
    for index in range(40):
        _, _, centers = render_order_video(VAL_SEED, index)
        assert np.linalg.norm(centers[0] - centers[15]) <= 0.25 * 15 + 1e-4
        for axis in range(2):
            line = centers[:, axis]
            fits = (corners <= line.min() - 9) & (line.max() + 9 <= corners + PATCH)
            assert fits.any()


def test_shapes_hardly_hide_each_other(scenes):
    for marked, _ in scenes:
        assert 4 <= len(marked) <= 6
        paths = [item.shape.centers for item in marked]
        for one in range(len(paths)):
            for other in range(one):
                assert np.linalg.norm(paths[one] - paths[other], axis=1).min() >= 22
