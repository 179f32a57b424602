"""`adafocus predict`: videos without labels, as evaluation would see them."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from agents.inference import AdaFocus
from train.runs.saved_config import CONFIG_FILE


@pytest.fixture
def inputs(video_folder, tmp_path):
    """Two videos, one of them in a folder of its own."""
    folder = tmp_path / "clips"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(video_folder / "videos" / "v0.mp4", folder / "a.mp4")
    shutil.copy(video_folder / "videos" / "v1.mp4", folder / "sub" / "b.mp4")
    return folder


@pytest.fixture
def predict(inputs, tmp_path, run_command):
    """Runs the command on the videos; to `tmp_path / "out"`."""

    def run(*overrides, resume="shipped", code=0):
        given = [f"resume={resume}", f"input={inputs}", f"output_dir={tmp_path / 'out'}"]
        return run_command("predict", *given, *overrides, code=code)

    return run


def test_the_shipped_networks_name_a_folder_and_python_says_the_same(predict, inputs, tmp_path):
    out = predict("looks=png").out
    assert "sub/b.mp4" in out
    videos = json.loads((tmp_path / "out" / "predictions.json").read_text())["videos"]
    paths = [inputs / "a.mp4", inputs / "sub" / "b.mp4"]
    assert [one["video"] for one in videos] == [str(path) for path in paths]
    for one, expected in zip(videos, AdaFocus.shipped().predict_files(paths), strict=True):
        values = [(each["name"], each["confidence"]) for each in one["classes"]]
        assert [name for name, _ in values] == [name for name, _ in expected.top()]
        np.testing.assert_allclose(
            [value for _, value in values], [value for _, value in expected.top()], atol=1e-5
        )
        assert len(values) == 5
        assert one["multiply_adds"] == expected.multiply_adds > 0
        assert one["patches"] == expected.boxes.tolist()
        assert expected.probabilities.sum(axis=1) == pytest.approx(np.ones(8), abs=1e-5)
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class_1"] for row in rows] == [one["classes"][0]["name"] for one in videos]
    picture = Image.open(tmp_path / "out" / "looks" / "sub" / "b.mp4.png")
    assert picture.size == (4 * 448, 2 * (24 + 448 + 70))  # eight frames, four in a line


def test_a_run_of_stage_2_draws_videos(predict, stage2_run, mp4_frames, tmp_path):
    predict("looks=mp4", resume=stage2_run)
    frames = mp4_frames(tmp_path / "out" / "looks" / "a.mp4.mp4")
    assert len(frames) == AdaFocus.load(stage2_run).recognizer.config.num_frames


def test_a_broken_video_is_named_and_the_others_done(predict, inputs, tmp_path):
    (inputs / "a.mp4").write_bytes(b"")
    done = predict(code=1)
    assert "1 of 2 videos cannot be read, the first with: " in done.err
    broken, whole = json.loads((tmp_path / "out" / "predictions.json").read_text())["videos"]
    assert "the file is empty" in broken["error"]
    assert not broken["classes"]
    assert len(whole["classes"]) == 5


def test_another_fit_than_the_runs_is_refused(predict, stage2_run, tmp_path):
    run = shutil.copytree(stage2_run, tmp_path / "squashed")
    lines = (run / CONFIG_FILE).read_text().replace("fit: crop", "fit: squash")
    (run / CONFIG_FILE).write_text(lines)
    done = predict(resume=run, code=1)
    assert f"fit=crop, but {run} was trained with fit=squash; give that" in done.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["input=gone.mp4"], "input=gone.mp4 does not exist"),
        (["input=null"], "predict needs input="),
        (["resume=gone"], "resume=gone holds no recognizer and policy"),
        (["skip_cost=random"], "skip_cost=random is for stage2"),
    ],
)
def test_what_cannot_be_used_is_one_line(predict, overrides, message):
    done = predict(*overrides, code=(1, 2))
    assert message in done.err
    assert done.err.count("\n") == 1
