"""The second built-in task: what its frames show, and what they do not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs.drawing import DIGITS, draw_video
from adafocus_env.data.glyphs.memory import (
    CUE_FRAMES,
    NUM_DISCS,
    SPLITS,
    draw_scene,
    render_memory_video,
)

VAL_SEED = SPLITS["val"][0]
OPTIONS = VideoOptions(num_frames=8, frame_size=112)
DISTANCE = 8  # pixels from a disc's middle: beyond its digit, inside its radius of 10 to 12


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng(seed), seed % 10) for seed in range(60)]


def saturation(frame, center):
    """Mean of 0..255 left of a disc's middle, given as (row, col)."""
    row, col = center.round().astype(int)
    spot = frame[row - 1 : row + 2, col - DISTANCE - 1 : col - DISTANCE + 2].mean(axis=(0, 1))
    return float(cv2.cvtColor(spot.astype(np.uint8)[None, None], cv2.COLOR_RGB2HSV)[0, 0, 1])


def test_the_target_is_yellow_in_the_first_six_frames_and_grey_in_the_other_ten():
    assert CUE_FRAMES == 6
    for index in range(10):
        frames, _, centers = render_memory_video(VAL_SEED, index)
        found = [saturation(*pair) for pair in zip(frames, centers, strict=True)]
        assert min(found[:6]) > 150
        assert max(found[6:]) < 40


def test_cue_frames_are_blank_and_answer_frames_carry_four_different_digits(scenes):
    for label, scene in enumerate(scenes[:10]):
        assert [disc.segments for disc in scene.cue()] == [""] * 4
        digits = [DIGITS.index(disc.segments) for disc in scene.answer()]
        assert len(set(digits)) == NUM_DISCS == 4
        assert digits[scene.target] == label


def test_answer_frames_are_the_same_whichever_disc_is_the_target(scenes):
    """So without memory of the cue no policy can do better than one in four."""
    first = scenes[0]
    others = [replace(first, target=number) for number in range(NUM_DISCS)]

    def frames(scene):
        shapes = [scene.cue()] * CUE_FRAMES + [scene.answer()] * (16 - CUE_FRAMES)
        return draw_video(np.random.default_rng(5), shapes)

    drawn = [frames(scene) for scene in others]
    for one in drawn[1:]:
        np.testing.assert_array_equal(one[CUE_FRAMES:], drawn[0][CUE_FRAMES:])
        assert (one[:CUE_FRAMES] != drawn[0][:CUE_FRAMES]).any()


def test_in_grey_all_discs_look_alike_but_for_the_digit(scenes):
    for scene in scenes:
        assert len({(disc.kind, disc.size, disc.color, disc.ink) for disc in scene.discs}) == 1
    targets = np.bincount([scene.target for scene in scenes], minlength=4)
    assert targets.min() >= 6  # 15 of 60 expected


def test_discs_move_smoothly_without_bounces_and_keep_apart(scenes):
    for scene in scenes:
        paths = np.stack([disc.centers for disc in scene.discs])
        assert paths.shape == (4, 16, 2)
        assert paths.min() >= 12
        assert paths.max() <= 100
        steps = np.diff(paths, axis=1)
        speeds = np.linalg.norm(steps, axis=2)
        assert speeds.min() >= 1.5
        assert speeds.max() <= 3.5
        # A turn of at most 0.03 radians at 3.5 pixels a frame: 2 * 3.5 * sin(0.015) = 0.105.
        assert np.linalg.norm(np.diff(steps, axis=1), axis=2).max() < 0.106
        for one in range(4):
            for other in range(one):
                assert np.linalg.norm(paths[one] - paths[other], axis=1).min() >= 30


def test_the_place_of_the_last_cue_does_not_do_for_the_end(scenes):
    """A patch holds a digit within about 9 pixels of its middle."""
    targets = [scene.discs[scene.target].centers for scene in scenes]
    moved = [np.abs(path[15] - path[CUE_FRAMES - 1]).max() for path in targets]
    assert np.mean(np.array(moved) > 9) > 0.9


def test_for_the_recognizer_the_targets_digit_stays_and_the_other_marks_flicker():
    rng = np.random.default_rng(0)
    scene = draw_scene(rng, 7)
    frames = [scene.flicker(rng) for _ in range(16)]
    for number in range(NUM_DISCS):
        marks = {frame[number].segments for frame in frames}
        assert (marks == {DIGITS[7]}) if number == scene.target else (len(marks) > 5)


def test_clips_and_centers_are_of_the_sampled_frames_and_come_from_no_files():
    videos = open_videos("glyphs_memory", "val", OPTIONS)
    frames, _, centers = render_memory_video(VAL_SEED, 4)
    np.testing.assert_array_equal(
        videos.clip(4, 9).frames.numpy(), frames[1::2].transpose(0, 3, 1, 2)
    )
    found = videos.target_centers(4)
    np.testing.assert_array_equal(found, centers[1::2])

    with pytest.raises(ValueError, match="dataset=glyphs_memory are drawn in memory"):
        open_videos("glyphs_memory", "val", OPTIONS, data_dir="somewhere")
