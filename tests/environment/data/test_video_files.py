"""Frames of video files."""

import os

import cv2
import numpy as np
import pytest

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.video_files import VideoFileReader, write_mp4


def decode_frames(path, indices=None, *, frame_rate=None):
    """The frames in the asked order; all without `indices`."""
    frames = dict(VideoFile(path, frame_rate).read(indices))
    return list(frames.values()) if indices is None else [frames[i] for i in indices]


def _grey_levels(frames):
    """Which of the frames of `video_frames`, whose lower right is 20 t, each one is."""
    return [round(float(frame[24:, 24:].mean()) / 20) for frame in frames]


def test_decoding_keeps_the_asked_frames_in_rgb(video_folder):
    path = video_folder / "videos" / "v0.mp4"
    frames = decode_frames(path, [1, 4, 4, 11])
    assert _grey_levels(frames) == [1, 4, 4, 11]
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
    red, green, blue = frames[0][4:12, 4:12].mean(axis=(0, 1))
    assert red > green + 100
    assert red > blue + 100

    assert _grey_levels(decode_frames(path)) == list(range(12))


def test_a_file_that_is_no_video_or_missing_is_named(video_folder, tmp_path):
    video = (video_folder / "videos" / "v0.mp4").read_bytes()
    path = tmp_path / "broken.mp4"
    for content, why in (
        (b"hello\n" * 50, "no video file: it does not begin as any known container does"),
        (b"", "the file is empty"),
        (b"#EXTM3U\n/etc/other.ts\n", "a playlist, which names other files and is not followed"),
        (video[: len(video) // 2], r"FFmpeg .*complete video\?"),
    ):
        path.write_bytes(content)
        for indices in (None, [0], [3, 5]):
            with pytest.raises(VideoError, match=rf"broken\.mp4: {why}"):
                decode_frames(path, indices)
    with pytest.raises(VideoError, match="a folder, not a video file"):
        decode_frames(tmp_path, [0])
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match=r"pipe\.mp4: no regular file"):
        decode_frames(tmp_path / "pipe.mp4", [0])
    with pytest.raises(VideoError, match=r"gone\.mp4: no such video file"):
        decode_frames(tmp_path / "gone.mp4", [0])


def test_a_video_that_breaks_off_says_after_how_many_frames(video_frames, tmp_path):
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, video_frames.shape, np.uint8)
    for frame in noise:
        writer.write(frame)
    writer.release()
    half = tmp_path / "half.avi"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(
        VideoError, match=r"half\.avi: .*ends after [4-7] readable frames but frame 11"
    ):
        decode_frames(half, [0, 11])
    assert len(decode_frames(half, [0, 3])) == 2


def test_a_video_of_one_frame_has_it_at_any_rate(video_frames, tmp_path):
    write_mp4(tmp_path / "one.mp4", video_frames[5:6], 8)
    # It is shown for an eighth of a second, which is nearly four places at 30 frames a second.
    for frame_rate, times in ((None, 1), (8, 1), (1, 1), (30, 4)):
        frames = decode_frames(tmp_path / "one.mp4", frame_rate=frame_rate)
        assert _grey_levels(frames) == [5] * times


def test_extracted_and_decoded_frames_follow_the_same_rotation(video_frames, tmp_path):
    path = tmp_path / "turned.mp4"
    write_mp4(path, video_frames, 8)
    data = bytearray(path.read_bytes())
    # The track header's matrix: identity (1 0, 0 1) becomes a quarter turn (0 1, -1 0).
    one = (0x10000).to_bytes(4, "big")
    zero, minus = bytes(4), (0x1_0000_0000 - 0x10000).to_bytes(4, "big")
    identity = one + zero + zero + zero + one + zero
    at = data.index(identity, data.index(b"tkhd"))
    data[at : at + len(identity)] = zero + one + zero + minus + zero + zero
    path.write_bytes(bytes(data))
    streamed = decode_frames(path)
    assert streamed[0].shape == (64, 48, 3)
    np.testing.assert_array_equal(decode_frames(path, [3])[0], streamed[3])


@pytest.fixture
def find(tmp_path):
    """Finds the video `v_abc` in a folder that holds the given names."""
    root = tmp_path.resolve() / "videos"
    root.mkdir()

    def look(*names, asked="v_abc"):
        for name in names:
            (root / name).touch()
        return VideoFileReader(root).find(root / asked)

    return look


@pytest.mark.parametrize("suffix", ["", ".mp4", ".mkv", ".webm", ".avi", ".MP4"])
def test_a_video_is_found_with_and_without_extension_and_a_dot_is_none(find, suffix):
    assert find(f"v_abc{suffix}", "v_abcd.mp4").name == f"v_abc{suffix}"
    assert find("v_1.5.mp4", asked="v_1.5").name == "v_1.5.mp4"


def test_a_video_that_is_not_there_or_there_twice_is_named(find):
    with pytest.raises(VideoError, match=r"v_abc: no such video file, nor with \.mp4, \.mkv"):
        find()
    with pytest.raises(VideoError, match=r"v_abc: .*v_abc\.mp4, .*v_abc\.webm all have this name"):
        find("v_abc.mp4", "v_abc.webm")


def test_a_folder_of_frames_beside_its_video_is_not_the_video(find, tmp_path):
    (tmp_path / "videos" / "v_abc").mkdir()
    assert find("v_abc.MoV", "._v_abc.mp4").name == "v_abc.MoV"


def test_a_link_out_of_the_folder_and_a_name_that_is_no_text_are_refused(find, tmp_path):
    (tmp_path / "outside.mp4").touch()
    (tmp_path / "videos" / "v_abc.mp4").symlink_to(tmp_path / "outside.mp4")
    with pytest.raises(VideoError, match=r"v_abc\.mp4: a link that leaves the data folder"):
        find()

    path = tmp_path / "\udce9.mp4"
    path.touch()
    with pytest.raises(VideoError, match="no UTF-8 text; rename it"):
        decode_frames(path)
