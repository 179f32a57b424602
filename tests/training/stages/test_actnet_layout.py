"""A folder as prepared for the published code, from videos to clips."""

import json
import shutil

import pytest

from adafocus_env.data import VideoOptions, open_videos
from train.config.builders import open_split


def _options(media, **entries):
    return VideoOptions(num_frames=8, frame_size=112, crop=False, media=media, **entries)


@pytest.fixture
def clips(actnet_folder):
    """Opens a split of the folder, or another, from either medium."""

    def open_split(split, media, folder=actnet_folder, **entries):
        options = VideoOptions(num_frames=8, frame_size=112, crop=False, media=media, **entries)
        return open_videos("actnet", split, options, data_dir=folder)

    return open_split


def _distance(one, other, index, seed=0):
    one, other = (videos.clip(index, seed).frames.float() for videos in (one, other))
    return (one - other).abs().mean()


def test_check_data_passes_for_both_media(run_command, actnet_folder, tmp_path):
    given = ["check-data", "dataset=actnet", f"data_dir={actnet_folder}"]
    for media in ("frames", "videos"):
        run_command(*given, f"media={media}", f"output_dir={tmp_path / media}")
        report = json.loads((tmp_path / media / "check_data.json").read_text())
        assert report["errors"] == report["warnings"] == []
        assert report["media"] == media
        train = report["splits"]["train"]
        assert (train["videos"], train["frames"]) == (12, 12 * 16)
        assert report["splits"]["val"]["videos"] == 6
    sizes = [path.stat().st_size for path in (actnet_folder / "videos").rglob("v_train*")]
    assert train["bytes"] == sum(sizes)


def test_clips_from_frames_and_from_videos_differ_by_at_most_3_levels(clips):
    for split in ("train", "val"):
        frames, videos = (clips(split, media) for media in ("frames", "videos"))
        assert frames.label_sets == videos.label_sets
        for index in range(len(frames)):
            one, other = (v.clip(index, 0).frames.float() for v in (frames, videos))
            # Neighbouring frames differ by far more, so these are the same ones.
            assert (one - other).abs().mean() <= 3 < (one[1:] - other[:-1]).abs().mean()


def test_augmented_clips_have_the_same_frames_and_crops_from_both_media(actnet_folder, make_config):
    given = ["dataset=actnet", f"data_dir={actnet_folder}"]
    videos = []
    for media in ("frames", "videos"):
        config = make_config("stage1", *given, f"media={media}")
        assert config.crop
        videos.append(open_split(config, "train", training=True, num_frames=8))
    for seed in range(3):
        assert _distance(*videos, 0, seed) <= 3


# 16 frames at 8 a second last two seconds; how many ffmpeg's -r makes of them is recorded in
# tests/environment/data/test_frame_rate.py, and so is the rule.
@pytest.mark.parametrize(("frame_rate", "count"), [(3, 8), (5, 12)])
def test_another_frame_rate_gives_the_same_frames_from_both_media(
    run_command, actnet_folder, clips, tmp_path, frame_rate, count
):
    (tmp_path / "few").mkdir()
    for index in range(2):
        shutil.copy(actnet_folder / f"videos/v_val_00{index}.mp4", tmp_path / "few")
    given = [f"source={tmp_path / 'few'}", f"target={tmp_path / 'frames'}", "height=none"]
    given += [f"frame_rate={frame_rate}", f"output_dir={tmp_path / 'out'}"]
    run_command("extract-frames", *given)
    counts = json.loads((tmp_path / "out" / "extract_frames.json").read_text())["frames"]
    assert counts == {"v_val_000.mp4": count, "v_val_001.mp4": count}
    (tmp_path / "videos").symlink_to(actnet_folder / "videos")
    shutil.copy(actnet_folder / "classInd.txt", tmp_path)
    lines = [f"v_val_00{index},{count},{index}\n" for index in range(2)]
    (tmp_path / "actnet_val_split.txt").write_text("".join(lines))
    frames = clips("val", "frames", tmp_path)
    videos = clips("val", "videos", tmp_path, frame_rate=frame_rate)
    native = clips("val", "videos")
    for index in range(2):
        assert _distance(frames, videos, index) <= 3
        assert _distance(native, videos, index) > 0
