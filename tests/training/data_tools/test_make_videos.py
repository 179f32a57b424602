"""The built-in videos as files: layout, what a second run does, and reading them back."""

import json

import numpy as np
import pytest
import torch

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs.drawing import CLASS_NAMES
from adafocus_env.data.glyphs.localization import SPLITS, render_video
from train.config.keys import ConfigError
from train.data_tools import make_videos as module
from train.data_tools.make_videos import make_videos

COUNTS = {"train": 3, "val": 2, "test": 2}


def _open(split, folder):
    options = VideoOptions(num_frames=8, frame_size=112)
    return open_videos("glyphs", split, options, data_dir=folder)


@pytest.fixture
def make(monkeypatch, quiet):
    """Makes videos of 3, 2 and 2 in this process; gives those that were drawn. One may fail."""
    for split, count in COUNTS.items():
        monkeypatch.setitem(SPLITS, split, (SPLITS[split][0], count))

    def run(folder, broken=None):
        drawn, write = [], module.write_video

        def noted(split, index, path):
            drawn.append(f"{split} {index}")
            if drawn[-1] == broken:
                path.write_bytes(b"half a video")
                raise OSError("No space left on device")
            return write(split, index, path)

        with monkeypatch.context() as patch:
            patch.setattr(module, "write_video", noted)
            make_videos(folder, quiet(), workers=0)
        return drawn

    return run


def test_every_split_has_its_list_targets_videos_and_a_complete_description(tiny_videos):
    for split, count in {"train": 20, "val": 10, "test": 12}.items():
        lines = (tiny_videos / f"{split}.txt").read_text().splitlines()
        assert lines == [f"{split}/{i:05d}.mp4,16,{i % 10}" for i in range(count)]
        assert np.load(tiny_videos / f"{split}_targets.npy").shape == (count, 16, 2)
        files = sorted(path.name for path in (tiny_videos / "videos" / split).iterdir())
        assert files == [f"{i:05d}.mp4" for i in range(count)]
    assert (tiny_videos / "classes.txt").read_text().split("\n")[:-1] == list(CLASS_NAMES)
    description = json.loads((tiny_videos / "videos.json").read_text())
    splits = {"train": [1001, 20], "val": [1002, 10], "test": [2001, 12]}
    assert description == {"dataset": "glyphs", "splits": splits}
    assert not (tiny_videos / ".incomplete").exists()


@pytest.mark.parametrize(("split", "seed"), [("train", 1001), ("val", 1002), ("test", 2001)])
def test_videos_are_read_back_with_their_targets(tiny_videos, split, seed):
    videos = _open(split, tiny_videos)
    frames, label, centers = render_video(seed, 7)
    clip = videos.clip(7, episode_seed=0)
    assert clip.label == label == 7
    expected = torch.from_numpy(frames[1::2]).permute(0, 3, 1, 2)
    assert (clip.frames.float() - expected.float()).abs().mean() < 10
    np.testing.assert_allclose(videos.target_centers(7), centers[1::2], atol=1e-5)


def test_the_target_is_yellow_where_the_targets_say_it_is(tiny_videos):
    videos = _open("test", tiny_videos)
    yellow = []
    for index in range(12):
        places = zip(videos.clip(index, 0).frames, videos.target_centers(index), strict=True)
        for frame, (row, column) in places:
            top, left = round(float(row)) - 10, round(float(column)) - 10
            red, green, blue = frame[:, top : top + 20, left : left + 20].float().mean(dim=(1, 2))
            yellow.append(bool(red > blue + 40 and green > blue + 40))
    assert np.mean(yellow) > 0.95


def test_complete_videos_are_left_as_they_are(make, tmp_path):
    assert len(make(tmp_path / "videos")) == 7
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").rglob("*")}
    assert make(tmp_path / "videos") == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").rglob("*")} == before


def test_an_interrupted_run_is_made_good(make, tmp_path):
    folder = tmp_path / "videos"
    with pytest.raises(OSError, match="No space left on device"):
        make(folder, broken="val 1")
    assert not (folder / "videos.json").exists()
    assert "val 1" in make(folder)
    for split, count in COUNTS.items():
        videos = _open(split, folder)
        assert len(videos) == count
        for index in range(count):
            assert videos.clip(index, 0).frames.shape == (8, 3, 112, 112)


def test_videos_of_other_seeds_are_not_taken_for_these(make, tmp_path, monkeypatch):
    make(tmp_path / "videos")
    monkeypatch.setitem(SPLITS, "val", (1002, 1))
    with pytest.raises(ConfigError, match="holds other files"):
        make(tmp_path / "videos")
    assert len(list((tmp_path / "videos" / "videos" / "val").iterdir())) == 2


@pytest.mark.parametrize("name", ["thesis.tex", ".hidden", "videos.json"])
def test_a_folder_with_other_files_or_a_file_is_refused_and_left_alone(make, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=r"holds other files; name an empty folder with data_dir"):
        make(tmp_path)
    with pytest.raises((ConfigError, OSError), match=name):
        make(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "{}"


def test_the_command_says_where_the_videos_are(make, run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_command("make-videos")
    assert "videos, lists and class file are in outputs/glyphs" in done.out
    assert len(_open("val", "outputs/glyphs")) == 2
    assert "are in elsewhere" in run_command("make-videos", "data_dir=elsewhere").out
    assert (tmp_path / "elsewhere" / "videos.json").is_file()


def test_an_empty_folder_is_used_also_on_another_disk(make, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(make(tmp_path / "empty")) == 7
    (tmp_path / "disk").mkdir()
    (tmp_path / "videos").symlink_to(tmp_path / "disk")
    assert len(make(tmp_path / "videos")) == 7
    assert (tmp_path / "disk" / "videos.json").is_file()
