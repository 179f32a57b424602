"""A command that makes lists of copies of a video of three frames."""

import json
import shutil

import numpy as np
import pytest

from adafocus_env.data.media.video_files import write_mp4


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Three frames of 32x32."""
    path = tmp_path_factory.mktemp("video") / "three.mp4"
    write_mp4(path, np.zeros((3, 32, 32, 3), np.uint8), 8)
    return path


@pytest.fixture
def put(video, tmp_path):
    """Puts copies of the video below `source`, under the names that are given."""

    def at(*names):
        for name in names:
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, path)

    return at


@pytest.fixture
def write(tmp_path):
    """Writes a text file and returns its path."""

    def at(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return at


@pytest.fixture
def make(tmp_path, run_command):
    """Runs the command on `source`, to `target`."""

    def run(*overrides, code=0):
        folders = [f"{name}={tmp_path / name}" for name in ("source", "target")]
        return run_command(
            "make-lists", *folders, f"output_dir={tmp_path / 'out'}", *overrides, code=code
        )

    return run


@pytest.fixture
def lists(tmp_path):
    """What a file of `target` holds: its lines."""
    return lambda name: (tmp_path / "target" / name).read_text().splitlines()


@pytest.fixture
def report(tmp_path):
    """Reads the report."""
    return lambda: json.loads((tmp_path / "target" / "make_lists.json").read_text())


@pytest.fixture(scope="session")
def names():
    """Names of some clips in class folders."""
    return lambda *classes, count=5: [f"{name}/{i}.mp4" for name in classes for i in range(count)]
