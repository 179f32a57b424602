"""Videos of a list file as clips."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adafocus_env.data.clips import VideoError
from adafocus_env.data.lists.list_files import (
    ListFileError,
    VideoRecord,
    read_class_file,
    read_list_file,
)
from adafocus_env.data.lists.listed_videos import ListedVideos
from adafocus_env.data.media.video_files import VideoFileReader
from adafocus_env.data.transforms import ClipTransform


def _open(folder, num_frames=4, **options):
    records = read_list_file(folder / "train.txt", folder / "videos", 3)
    return ListedVideos(
        records,
        read_class_file(folder / "classes.txt"),
        VideoFileReader(folder.resolve()),
        num_frames=num_frames,
        transform=ClipTransform(32, augment=options.get("frame_sampling") == "random"),
        **options,
    )


def _grey_levels(frames):
    """Which of the frames of `video_frames`, whose lower right is 20 t, each one is."""
    side = frames.shape[-1] // 2
    return [round(float(frame[:, side:, side:].float().mean()) / 20) for frame in frames]


def test_clip_has_the_middle_frames_the_label_and_the_size(video_folder):
    videos = _open(video_folder)
    assert len(videos) == 6
    assert videos.labels.tolist() == [0, 1, 2, 0, 1, 2]
    clip = videos.clip(2, episode_seed=5)
    assert clip.label == 2
    assert clip.frames.shape == (4, 3, 32, 32)
    # Frames floor(12 / 4 * (i + 1/2)) = 1, 4, 7, 10 of video 2, whose frames are rolled by 2.
    assert _grey_levels(clip.frames) == [11, 2, 5, 8]


class _Recorder:
    """A reader of grey frames that remembers what was asked of it."""

    def __init__(self):
        self.asked = []

    def read(self, path, indices):
        self.asked.append((path, list(indices)))
        for index in sorted(set(self.asked[-1][1])):
            yield index, np.full((48, 64, 3), 20 * index, np.uint8)


def _over(reader, num_video_frames, **options):
    record = VideoRecord(Path("v"), num_video_frames, (1, 2))
    transform = ClipTransform(32)
    return ListedVideos(
        [record], ("a", "b", "c"), reader, num_frames=4, transform=transform, **options
    )


@pytest.mark.parametrize("sampling", ["center", "random"])
def test_random_clips_depend_on_the_episode_seed_and_keeping_decoded_videos_changes_none(
    video_folder, sampling
):
    plain, kept = (
        _open(video_folder, frame_sampling=sampling, keep_decoded=keep) for keep in (False, True)
    )
    clips = [[videos.clip(0, seed).frames for seed in (0, 1, 0)] for videos in (plain, kept)]
    for one, other in zip(*clips, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(clips[0][0], clips[0][2])
    assert torch.equal(clips[0][0], clips[0][1]) == (sampling == "center")


def test_kept_videos_are_decoded_once_and_whole():
    reader = _Recorder()
    videos = _over(reader, 12, keep_decoded=True)
    assert _grey_levels(videos.clip(0, 0).frames) == [1, 4, 7, 10]
    videos.clip(0, 1)
    assert reader.asked == [(Path("v"), list(range(12)))]


@pytest.mark.parametrize("keep_decoded", [False, True])
def test_frames_come_in_the_order_of_the_sampling(keep_decoded):
    # Dense: every 64 // 4 = 16th frame modulo 12: 0, 16 - 12, 32 - 24, 48 - 48.
    videos = _over(_Recorder(), 12, frame_sampling="dense", keep_decoded=keep_decoded)
    assert _grey_levels(videos.clip(0, 0).frames) == [0, 4, 8, 0]


def test_each_frame_is_read_once_and_no_other_and_a_video_has_all_its_labels():
    reader = _Recorder()
    _over(reader, 2).clip(0, 0)  # frames 0, 1, 1, 1
    assert reader.asked == [(Path("v"), [0, 1])]
    videos = _over(_Recorder(), 12)
    assert videos.labels.tolist() == [1]
    assert videos.label_sets == ((1, 2),)
    assert videos.clip(0, 0).label == 1


def test_frames_of_different_sizes_are_refused():
    class Mixed(_Recorder):
        def read(self, path, indices):
            for index, frame in super().read(path, indices):
                yield index, frame[: 48 - index]

    with pytest.raises(VideoError, match=r"v: .* different sizes, 64x38, 64x41, 64x44, 64x47"):
        _over(Mixed(), 12).clip(0, 0)


def test_a_fit_other_than_the_published_is_part_of_what_the_clips_are():
    def preprocessing(**how):
        videos = ListedVideos(
            [VideoRecord(Path("v"), 4, (1,))],
            ("a", "b"),
            VideoFileReader(Path()),
            num_frames=2,
            transform=ClipTransform(32, **how),
        )
        return videos.identity()["preprocessing"]

    plain = preprocessing()
    assert "fit" not in plain  # as it was before there were others
    assert preprocessing(fit="pad") == {**plain, "fit": "pad"}


@pytest.mark.parametrize("keep_decoded", [False, True])
def test_too_large_a_frame_count_is_named_with_its_cure(video_folder, keep_decoded):
    videos = ListedVideos(
        [VideoRecord(video_folder / "videos" / "v0.mp4", 20, (0,))],
        ("class 0",),
        VideoFileReader(video_folder.resolve()),
        num_frames=4,
        transform=ClipTransform(32),
        keep_decoded=keep_decoded,
    )
    with pytest.raises(VideoError, match=r"v0\.mp4: .*12 readable .*correct the frame count"):
        videos.clip(0, 0)


def test_target_centers_are_those_of_the_middle_frames(video_folder):
    centers = np.arange(6 * 12 * 2, dtype=np.float32).reshape(6, 12, 2)
    videos = _open(video_folder, target_centers=centers)
    chosen = videos.target_centers(1)
    # Video 1 begins at 24; frames 1, 4, 7, 10 have two numbers each.
    assert chosen.tolist() == [[26, 27], [32, 33], [38, 39], [44, 45]]
    assert _open(video_folder).target_centers(1) is None

    with pytest.raises(ListFileError, match="5 target paths for 6 videos"):
        _open(video_folder, target_centers=np.zeros((5, 12, 2), np.float32))

    # 2 frames, 4 of them by the test rule: floor(2 / 4 * (i + 1/2)) = 0, 0, 1, 1.
    centers = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    for sampling, expected in (("test", [0, 0, 2, 2]), ("center", [0, 2, 2, 2])):
        videos = _over(_Recorder(), 2, target_centers=centers, frame_sampling=sampling)
        chosen = videos.target_centers(0)
        assert chosen[:, 0].tolist() == expected
