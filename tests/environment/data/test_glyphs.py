"""The built-in videos."""

import cv2
import numpy as np
import pytest
import torch

from adafocus_env.data.glyphs.localization import SPLITS, render_video, write_video
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.video_files import write_mp4

VAL_SEED = SPLITS["val"][0]
MIDDLE_FRAMES = [1, 3, 5, 7, 9, 11, 13, 15]  # floor(16 / 8 * (i + 1/2)) = 2 i + 1


def test_target_center_lies_on_a_yellow_disc():
    # 8 pixels left and right of the middle: beyond the digit, inside the disc of radius 10 to 12.
    for index in range(10):
        frames, _, centers = render_video(VAL_SEED, index)
        for frame, (row, col) in zip(frames, centers.round().astype(int), strict=True):
            for side in (col - 8, col + 8):
                color = frame[row - 1 : row + 2, side - 1 : side + 2].mean(axis=(0, 1))
                pixel = color.round().astype(np.uint8)[None, None]
                hue, saturation, value = cv2.cvtColor(pixel, cv2.COLOR_RGB2HSV)[0, 0]
                assert 19 <= hue <= 34
                assert saturation > 150
                assert value > 150


def test_target_moves_three_to_six_pixels_a_frame_and_stays_in_the_frame():
    for index in range(10):
        _, _, centers = render_video(VAL_SEED, index)
        assert centers.min() >= 10
        assert centers.max() <= 102
        moved = np.linalg.norm(np.diff(centers, axis=0), axis=1)
        assert moved.max() < 6.001
        # Bounces shorten a few steps.
        assert np.median(moved) > 2.999


def test_digit_on_the_target_is_dark_and_differs_between_classes():
    # Segment "a" of a seven, the bar on top, is missing in a four: above the middle of the disc a
    # seven is darker. Half the digit's height is 6.2 to 7.4 pixels.
    def top(index):
        frames, _, centers = render_video(VAL_SEED, index)
        row, col = centers[0].round().astype(int)
        return float(frames[0, row - 9 : row - 4, col - 1 : col + 2].min(axis=0).mean())

    sevens = [top(index) for index in range(7, 100, 10)]
    fours = [top(index) for index in range(4, 100, 10)]
    assert np.mean(sevens) < np.mean(fours) - 50


def test_center_sampling_shows_the_middle_frame_of_each_segment():
    frames, label, centers = render_video(VAL_SEED, 12)
    clip = GlyphVideos("val").clip(12, episode_seed=99)
    assert clip.label == label == 2
    assert clip.frames.dtype == torch.uint8
    np.testing.assert_array_equal(clip.frames.numpy(), frames[MIDDLE_FRAMES].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(GlyphVideos("val").target_centers(12), centers[MIDDLE_FRAMES])


def test_clips_and_target_centers_have_the_asked_number_of_frames():
    for num_frames in (1, 5, 16, 20):
        videos = GlyphVideos("test", num_frames=num_frames)
        assert videos.clip(0, 0).frames.shape == (num_frames, 3, 112, 112)
        assert videos.target_centers(0).shape == (num_frames, 2)


def test_random_sampling_takes_one_frame_of_each_segment_by_the_episode_seed():
    videos = GlyphVideos("train", frame_sampling="random")
    frames, _, _ = render_video(SPLITS["train"][0], 3)
    pairs = frames.transpose(0, 3, 1, 2).reshape(8, 2, 3, 112, 112)
    chosen = set()
    for seed in range(3):
        clip = videos.clip(3, seed).frames.numpy()
        assert np.array_equal(clip, videos.clip(3, seed).frames.numpy())
        is_second = tuple(bool((clip[i] == pairs[i, 1]).all()) for i in range(8))
        assert all((clip[i] == pairs[i, int(second)]).all() for i, second in enumerate(is_second))
        chosen.add(is_second)
    assert len(chosen) == 3


def test_written_video_reads_back_as_the_frames_in_memory(tmp_path):
    centers = write_video("val", 4, tmp_path / "4.mp4")
    frames, _, expected_centers = render_video(VAL_SEED, 4)
    np.testing.assert_array_equal(centers, expected_centers)
    read = np.stack([frame for _, frame in VideoFile(tmp_path / "4.mp4").read()])
    assert read.shape == frames.shape
    # distances[i, j]: read frame i to drawn frame j. The codec smooths the pixel noise, whose mean
    # size is 6.4 levels; neighbouring frames are about 18 levels apart.
    distances = np.abs(read[:, None].astype(np.int16) - frames[None]).mean(axis=(2, 3, 4))
    assert np.diag(distances).max() < 10
    assert distances.argmin(axis=1).tolist() == list(range(16))
    # Colours keep their order: swapped red and blue would be far off the yellow target.
    row, col = centers[0].round().astype(int)
    red, _, blue = read[0, row - 1 : row + 2, col - 9 : col - 6].mean(axis=(0, 1))
    assert red > blue + 60


def test_a_video_needs_frames_and_a_folder(tmp_path):
    with pytest.raises(ValueError, match="no frames to write"):
        write_mp4(tmp_path / "empty.mp4", [], 8)
    frame = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(OSError, match=r"No such file or directory.*missing.a\.mp4"):
        write_mp4(tmp_path / "missing" / "a.mp4", [frame], 8)
