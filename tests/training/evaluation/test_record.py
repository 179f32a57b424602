"""`adafocus record`: the file has the chosen videos, with each policy's looks in a panel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.config.keys import ConfigError
from train.evaluation.record import choose, output_file
from train.evaluation.report.video import side_by_side

SIDE = 448  # frames of 112 pixels are drawn four times as large
HEIGHT = 24 + SIDE + 70  # title, frame, bars


@pytest.fixture
def record(run_tiny, stage2_run, tmp_path):
    """Runs the command on a run of stage 2, in `tmp_path / "run"`."""

    def run(*overrides, code=0):
        return run_tiny("record", tmp_path / "run", f"resume={stage2_run}", *overrides, code=code)

    return run


def _frames(picture):
    """The drawn frames of a row of panels."""
    return picture[24 : 24 + SIDE].astype(int)


def test_an_mp4_shows_the_chosen_videos_one_panel_a_policy(
    record, stage2_run, mp4_frames, tmp_path
):
    out = record("videos=[0,3]", f"policies=[center,fixed:0,learned,ppo:{stage2_run}]").out
    file = tmp_path / "run" / "record.mp4"
    said = f"{file}: videos [0, 3] of test, center, fixed:0, learned, ppo"
    assert said in out.replace("\n", "")
    frames = mp4_frames(file)
    assert len(frames) == 2 * 2  # two videos of two frames
    assert frames[0].shape == (HEIGHT, 4 * SIDE, 3)
    # The same policy under two names looks at the same places.
    _, corner, learned, ppo = np.split(_frames(frames[1]), 4, axis=1)
    assert np.abs(learned - ppo).mean() < 2
    # fixed:0 looks at the upper left corner: patches of 32 pixels, four times as large.
    line = (np.abs(corner - (60, 255, 90)).max(axis=2) < 70)[1]
    assert line[4:124].mean() > 0.9
    assert line[136:].mean() < 0.2
    assert not list(file.parent.glob(".*part*"))


def test_a_gif_goes_where_output_says_at_half_the_size_and_its_own_speed(record, tmp_path):
    target = tmp_path / "new" / "looks.gif"
    given = ["videos=3", f"output={target}", "policies=[random,center]", "split=val", "fps=5"]
    record(*given)
    with Image.open(target) as gif:
        assert (gif.format, gif.size) == ("GIF", (SIDE, HEIGHT // 2))
        assert (gif.n_frames, gif.info["duration"]) == (3 * 2, 200)


def test_seeds_of_one_policy_have_a_panel_each(record, stage2_run, mp4_frames, tmp_path):
    run = stage2_run
    given = ["videos=[1]", f"policies=[ppo:{run},ppo:{run}]", f"output={tmp_path / 'a.mp4'}"]
    assert "ppo, ppo (2)" in record(*given).out
    assert mp4_frames(tmp_path / "a.mp4")[0].shape[1] == 2 * SIDE


def test_a_panel_shows_the_classes_of_the_policys_own_recognizer(
    record, stage2_run, mp4_frames, tmp_path
):
    shown = []
    for runs in ([], [f"runs={{learned: {stage2_run}}}"]):
        record("videos=[1]", "policies=[learned]", *runs)
        shown.append(mp4_frames(tmp_path / "run" / "record.mp4")[1])
    common, own = shown
    assert np.abs(_frames(common) - _frames(own)).mean() < 1
    assert own.shape == common.shape


def test_what_cannot_be_recorded_is_one_line(record, tmp_path):
    for given, message in (
        ("videos=[0,12]", "videos=[0, 12]: name some of 0..11, the split's videos"),
        ("videos=0", "videos=0 must be at least 1, or a list such as [0,3]"),
        ("videos=some", "videos='some' must be a list of whole numbers"),
        ("output=looks.avi", "output=looks.avi must be the name of a file that ends in .mp4 or"),
        ("policies=[centre]", "did you mean center"),
        ("fps=0", "fps=0 must be 0.01 to 1000"),
    ):
        done = record(given, code=1)
        assert message in done.err
        assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.rglob("*.mp4"))


def test_videos_are_named_or_spread_evenly_and_a_folder_is_no_output(tmp_path):
    assert choose([3, 0, 3], 10) == [3, 0]
    assert choose(3, 11) == [0, 5, 10]
    assert choose(None, 10) == [0, 3, 6, 9]
    assert choose(7, 2) == [0, 1]
    for wrong in ([], [-1], [10]):
        with pytest.raises(ConfigError, match="the split's videos"):
            choose(wrong, 10)
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(ConfigError, match="name of a file"):
        output_file(str(tmp_path / "a.mp4"), tmp_path)
    assert output_file("b.GIF", tmp_path) == Path("b.GIF")


def test_more_policies_than_columns_go_below_each_other(evaluations, make_videos):
    center = evaluations["center"]
    shown = dict.fromkeys("abcde", center)
    (first, *_) = side_by_side(make_videos(), 0, shown, seed=3, columns=4)
    (one, *_) = side_by_side(make_videos(), 0, {"a": center}, seed=3, columns=4)
    height, width = one.shape[:2]
    assert first.shape == (2 * height, 4 * width, 3)
    np.testing.assert_array_equal(first[:height, :width], one)
    assert first[height:, :width].any()
    assert not first[height:, width:].any()
