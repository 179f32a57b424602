"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adafocus_env.data import (
    GlyphVideos,
    ListFileError,
    VideoFiles,
    VideoLists,
    VideoOptions,
    open_videos,
)
from adafocus_env.data.glyphs import CLASS_NAMES, write_video

GLYPHS = VideoOptions(num_frames=8, frame_size=112)
FILES = VideoOptions(num_frames=4, frame_size=32)


@pytest.fixture(scope="module")
def glyph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two built-in validation videos as files, as `adafocus make-videos` lays them out."""
    folder = tmp_path_factory.mktemp("glyphs")
    (folder / "videos").mkdir()
    (folder / "classes.txt").write_text("\n".join(CLASS_NAMES))
    centers = [write_video("val", i, folder / "videos" / f"{i}.mp4") for i in range(2)]
    np.save(folder / "val_targets.npy", np.stack(centers))
    (folder / "val.txt").write_text("0.mp4,16,0\n1.mp4,16,1\n")
    return folder


def test_glyphs_need_no_files() -> None:
    videos = open_videos("glyphs", "val", GLYPHS)
    assert isinstance(videos, GlyphVideos)
    assert len(videos) == 250


def test_glyphs_from_files_are_nearly_those_in_memory(glyph_folder: Path) -> None:
    drawn = open_videos("glyphs", "val", GLYPHS)
    read = open_videos("glyphs", "val", GLYPHS, data_dir=glyph_folder)
    assert isinstance(read, VideoFiles)
    assert tuple(read.class_names) == tuple(drawn.class_names)
    for index in range(2):
        one, other = drawn.clip(index, 0), read.clip(index, 0)
        assert one.label == other.label == index
        assert (one.frames.float() - other.frames.float()).abs().mean() < 10
        np.testing.assert_array_equal(drawn.target_centers(index), read.target_centers(index))


@pytest.mark.parametrize("from_files", [False, True])
def test_glyphs_are_never_mirrored_or_cropped(glyph_folder: Path, from_files: bool) -> None:
    options = VideoOptions(num_frames=16, frame_size=112, augment=True, crop=True, flip=True)
    data_dir = glyph_folder if from_files else None
    videos = open_videos("glyphs", "val", options, data_dir=data_dir)
    clips = [videos.clip(1, seed).frames for seed in range(6)]  # 16 of 16 frames: no choice
    assert all(torch.equal(clip, clips[0]) for clip in clips[1:])


def test_glyphs_of_another_size_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"112 pixels wide .* takes 224; use dataset=videos"):
        open_videos("glyphs", "val", VideoOptions(num_frames=8, frame_size=224))


def test_augmented_clips_have_random_frames_and_others_do_not(video_folder: Path) -> None:
    for augment in (False, True):
        options = VideoOptions(num_frames=4, frame_size=32, augment=augment)
        videos = open_videos("videos", "train", options, data_dir=video_folder)
        same = torch.equal(videos.clip(0, 1).frames, videos.clip(0, 2).frames)
        assert same is not augment


def test_list_names_may_be_chosen(video_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    (tmp_path / "list_of_val").write_text("v0.mp4 12 2\n")
    (tmp_path / "clips").symlink_to(video_folder / "videos")
    lists = VideoLists("list_of_{split}", "names.txt", "clips", separator=" ")
    videos = open_videos("videos", "val", FILES, data_dir=tmp_path, lists=lists)
    assert tuple(videos.class_names) == ("x", "y", "z")
    assert videos.clip(0, 0).label == 2


def test_positions_are_dropped_where_videos_are_cropped(glyph_folder: Path) -> None:
    for crop in (False, True):
        options = VideoOptions(num_frames=8, frame_size=112, crop=crop)
        videos = open_videos("videos", "val", options, data_dir=glyph_folder)
        assert (videos.target_centers(0) is None) is crop


def test_positions_of_other_videos_are_refused(glyph_folder: Path, tmp_path: Path) -> None:
    for name in ("classes.txt", "videos", "val_targets.npy"):
        (tmp_path / name).symlink_to(glyph_folder / name)
    (tmp_path / "val.txt").write_text("0.mp4,16,0\n")
    with pytest.raises(ListFileError, match=r"val_targets\.npy: 2 target paths for 1 videos"):
        open_videos("glyphs", "val", GLYPHS, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("dataset", "split", "message"),
    [
        ("imagenet", "val", "unknown dataset 'imagenet'; known are glyphs, videos"),
        ("videos", "val", "dataset=videos needs data_dir=FOLDER"),
        ("glyphs", "valid", "not 'valid'"),
    ],
)
def test_an_unknown_data_set_or_split_is_refused(dataset: str, split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_videos(dataset, split, GLYPHS)


@pytest.mark.parametrize("missing", ["classes.txt", "val.txt"])
def test_a_missing_file_of_a_data_set_is_named(tmp_path: Path, missing: str) -> None:
    if missing == "val.txt":
        (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(FileNotFoundError, match=str(tmp_path / missing)):
        open_videos("videos", "val", FILES, data_dir=tmp_path)
