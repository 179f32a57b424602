"""`adafocus extract-frames`: whole folders of videos."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from fractions import Fraction
from pathlib import Path

import av
import pytest

import train.data_tools.extract_frames


@pytest.fixture
def source(video_folder, tmp_path):
    """Six videos of 12 frames, two of them in a folder of their own."""
    folder = shutil.copytree(video_folder / "videos", tmp_path / "source")
    (folder / "sub").mkdir()
    for name in ("v4.mp4", "v5.mp4"):
        (folder / name).rename(folder / "sub" / name)
    return folder


@pytest.fixture
def extract(source, tmp_path, run_command):
    """Runs the command on `source`, to `target`."""

    def run(*overrides, code=0):
        folders = [f"target={tmp_path / 'target'}", f"output_dir={tmp_path / 'out'}"]
        return run_command("extract-frames", f"source={source}", *folders, *overrides, code=code)

    return run


def _report(tmp_path):
    return json.loads((tmp_path / "out" / "extract_frames.json").read_text())


def _tree(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_all_videos_are_extracted_and_counted(extract, tmp_path):
    done = extract("height=24")
    names = ["sub/v4.mp4", "sub/v5.mp4", "v0.mp4", "v1.mp4", "v2.mp4", "v3.mp4"]
    assert _report(tmp_path) == {"frames": dict.fromkeys(names, 12), "failed": [], "left_out": []}
    assert len(list((tmp_path / "target").rglob("image_*.jpg"))) == 6 * 12
    assert (tmp_path / "target" / "sub" / "v5" / "image_00012.jpg").is_file()
    assert "the frames of 3 more videos will take about" in done.out
    assert "GB are free" in done.out


def test_pixels_that_are_not_square_are_said(extract, source):
    with av.open(str(source / "wide[b].mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    said = " ".join(extract("height=none").out.split())
    assert "pixels are not square in 1 videos, the first of them" in said
    assert "wide[b].mp4: their frames stay as they are stored" in said


def test_videos_that_fail_are_reported_and_the_others_done(extract, source, tmp_path):
    (source / "v1.mp4").write_bytes(b"")
    (source / "v2.mp4").write_bytes((source / "v0.mp4").read_bytes()[:500])
    done = extract(code=1)
    assert "2 of 6 videos failed, the first with: " in done.err
    assert f"{source / 'v1.mp4'}: the file is empty" in done.err
    report = _report(tmp_path)
    assert [Path(item["video"]).name for item in report["failed"]] == ["v1.mp4", "v2.mp4"]
    assert len(report["frames"]) == 4
    folders = sorted(path.name for path in (tmp_path / "target").iterdir() if path.is_dir())
    assert folders == ["sub", "v0", "v3"]
    # With the videos replaced, only these are done.
    shutil.copy(source / "v0.mp4", source / "v1.mp4")
    shutil.copy(source / "v0.mp4", source / "v2.mp4")
    done = extract()
    assert "videos: 6, extracted already: 4" in done.out
    assert len(_report(tmp_path)["frames"]) == 6


def test_a_folder_of_other_settings_or_of_a_run_in_progress_is_refused(extract, hold, tmp_path):
    extract()
    done = extract("height=none", code=1)
    assert "was extracted with other settings (height: 360 there, None here)" in done.err
    with hold(tmp_path / "target") as process:
        done = extract(code=1)
    assert f"{tmp_path / 'target'} is written by process {process.pid} of " in done.err


def test_a_bad_key_is_named(extract):
    for override, message in (
        ("height=high", "height=high must be a number of pixels, or none"),
        ("height=0", "height=0 must be 1 to 4096"),
        ("frame_rate=0", "frame_rate=0 must be 0.001 to 1000"),
        ("source=nothing_here", "source=nothing_here is no folder"),
        ("target=null", "extract-frames needs target=FOLDER|FILE: where to write"),
    ):
        assert message in extract(override, code=1).err


def test_a_disk_that_is_too_small_is_refused_with_the_estimate(extract, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 10, 1000)
    monkeypatch.setattr(train.data_tools.extract_frames.shutil, "disk_usage", lambda _: usage)
    said = extract(code=1).err
    assert re.search("will take about .* but the disk of .* has 1.0 kB", said)
    assert len(list((tmp_path / "target").rglob("extracted.json"))) == 3


# Over 5 seconds: two processes are started, which import torch.
def test_a_killed_run_is_taken_up_and_its_processes_end(source, extract, tmp_path):
    for index in range(20):
        shutil.copy(source / "v0.mp4", source / f"more{index}.mp4")
    target = tmp_path / "target"
    command = [sys.executable, "-m", "train", "extract-frames", f"source={source}", "height=1080"]
    command += [f"target={target}", f"output_dir={tmp_path / 'killed'}", "num_workers=1"]
    root = Path(train.data_tools.extract_frames.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(target.glob("more*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(0.5)  # its process notices
    before = _tree(target)
    time.sleep(0.3)
    assert _tree(target) == before
    whole = [path for path in target.glob("more*") if (path / "extracted.json").is_file()]
    assert 3 <= len(whole) < 20
    assert all(len(list(path.glob("image_*.jpg"))) == 12 for path in whole)
    extract("height=1080")
    assert len(_report(tmp_path)["frames"]) == 26
    assert not list(target.rglob(".extracting*"))
    # Done by another process before, or by this one now: the same bytes.
    assert all(_tree(path) == _tree(target / "v0") for path in target.glob("more*"))
