"""The video and the still that show policies side by side."""

import cv2
import numpy as np
import pytest

from agents.baselines.simple import center_agent
from agents.evaluation import evaluate_agent
from train.evaluation.report.video import write_policy_video

GREEN = (60, 255, 90)  # RGB, of the current patch's box


def _green(picture):
    """Where the picture has the colour of the current box, up to what the codec changes."""
    return np.asarray(np.abs(picture.astype(int) - GREEN).max(axis=2) < 70)


def test_each_policy_has_a_panel_with_its_box_in_every_frame_of_every_video(
    evaluations, make_videos, mp4_frames, tmp_path
):
    write_policy_video(tmp_path, make_videos(), evaluations, seed=3)
    frames = mp4_frames(tmp_path / "policies.mp4")
    assert len(frames) == 5 * 4
    assert frames[0].shape[1] == 2 * 440  # frames of 40 pixels, eleven times as large
    grey = make_videos()
    grey.frames.fill_(40)
    write_policy_video(tmp_path, grey, evaluations, seed=3)
    # The middle of the grid is (14, 14), 12 pixels wide: eleven times as large, below a title of
    # 24 pixels, in the right one of two panels.
    for frame in mp4_frames(tmp_path / "policies.mp4"):
        panel = _green(frame[24 : 24 + 440, 440:])
        for axis in (0, 1):
            line = np.flatnonzero(panel.any(axis=axis))
            assert abs(int(line.min()) - 154) <= 4
            assert abs(int(line.max()) - (154 + 131)) <= 4


def test_at_most_ten_videos_are_shown(make_vector_env, make_videos, mp4_frames, tmp_path):
    videos = make_videos(12)
    env = make_vector_env(12, autoreset_mode="disabled", videos=videos)
    evaluation = evaluate_agent(env, center_agent(env.core))
    write_policy_video(tmp_path, videos, {"center": evaluation}, seed=0)
    assert len(mp4_frames(tmp_path / "policies.mp4")) == 10 * 4


@pytest.mark.parametrize("names", [["random"], ["random", "center"]], ids=len)
def test_the_still_shows_whole_frames_of_every_policy_at_half_size(
    evaluations, make_videos, mp4_frames, tmp_path, names
):
    shown = {name: evaluations[name] for name in names}
    write_policy_video(tmp_path, make_videos(), shown, seed=3)
    still = cv2.imread(str(tmp_path / "policies.png"))
    height = mp4_frames(tmp_path / "policies.mp4")[0].shape[0]
    # Four steps next to each other, policies below each other.
    assert still.shape[:2] == (len(names) * height // 2, 4 * 440 // 2)
