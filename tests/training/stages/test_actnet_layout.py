"""A folder as prepared for the published code, from videos to clips."""

import json
import shutil

import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from train.config.builders import open_split


def _options(media, **entries):
    return VideoOptions(num_frames=8, frame_size=112, crop=False, media=media, **entries)


def test_check_data_passes_for_both_media(run_command, actnet_folder, tmp_path):
    for media in ("frames", "videos"):
        out = tmp_path / media
        run_command(
            "check-data",
            *("dataset=actnet", f"data_dir={actnet_folder}", f"media={media}"),
            f"output_dir={out}",
        )
        report = json.loads((out / "check_data.json").read_text())
        assert report["errors"] == report["warnings"] == []
        assert report["media"] == media
        assert report["splits"]["train"]["videos"] == 12
        assert report["splits"]["train"]["frames"] == 12 * 16
        assert report["splits"]["val"]["videos"] == 6
        sizes = [path.stat().st_size for path in (actnet_folder / media).rglob("v_train*")]
        if media == "videos":
            assert report["splits"]["train"]["bytes"] == sum(sizes)


def test_clips_from_frames_and_from_videos_differ_by_at_most_3_levels(actnet_folder):
    for split in ("train", "val"):
        frames, videos = (
            open_videos("actnet", split, _options(media), data_dir=actnet_folder)
            for media in ("frames", "videos")
        )
        assert frames.label_sets == videos.label_sets
        for index in range(len(frames)):
            one, other = (v.clip(index, 0).frames.float() for v in (frames, videos))
            # Neighbouring frames differ by far more, so these are the same ones.
            assert (one - other).abs().mean() <= 3 < (one[1:] - other[:-1]).abs().mean()


def test_augmented_clips_have_the_same_frames_and_crops_from_both_media(actnet_folder, make_config):
    videos = {}
    for media in ("frames", "videos"):
        config = make_config(
            "stage1", "dataset=actnet", f"data_dir={actnet_folder}", f"media={media}"
        )
        assert config.crop
        videos[media] = open_split(config, "train", training=True, num_frames=8)
    for seed in range(3):
        one, other = (v.clip(0, seed).frames.float() for v in videos.values())
        assert (one - other).abs().mean() <= 3


@pytest.mark.parametrize("frame_rate", [3, 20])
def test_another_frame_rate_gives_the_same_frames_from_both_media(
    run_command, actnet_folder, tmp_path, frame_rate
):
    (tmp_path / "few").mkdir()
    for index in range(2):
        shutil.copy(actnet_folder / f"videos/v_val_00{index}.mp4", tmp_path / "few")
    run_command(
        "extract-frames",
        *(f"source={tmp_path / 'few'}", f"target={tmp_path / 'frames'}", "height=none"),
        *(f"frame_rate={frame_rate}", f"output_dir={tmp_path / 'out'}"),
    )
    counts = json.loads((tmp_path / "out" / "extract_frames.json").read_text())["frames"]
    # 16 frames at 8 a second: the last one is due at 15 * R / 8, rounded, halves up.
    expected = {3: 7, 20: 39}[frame_rate]
    assert counts == {"v_val_000.mp4": expected, "v_val_001.mp4": expected}
    (tmp_path / "videos").symlink_to(actnet_folder / "videos")
    shutil.copy(actnet_folder / "classInd.txt", tmp_path)
    lines = [f"v_val_00{index},{expected},{index}\n" for index in range(2)]
    (tmp_path / "actnet_val_split.txt").write_text("".join(lines))
    frames = open_videos("actnet", "val", _options("frames"), data_dir=tmp_path)
    options = _options("videos", frame_rate=frame_rate)
    videos = open_videos("actnet", "val", options, data_dir=tmp_path)
    for index in range(2):
        one, other = (v.clip(index, 0).frames.float() for v in (frames, videos))
        assert (one - other).abs().mean() <= 3
        native = open_videos("actnet", "val", _options("videos"), data_dir=actnet_folder)
        assert not np.array_equal(native.clip(index, 0).frames, videos.clip(index, 0).frames)
