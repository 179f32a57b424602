"""What tests of reports share: evaluations of two agents, a page of evil labels, video frames."""

import cv2
import pytest

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.baselines.simple import RandomAgent, center_agent
from agents.evaluation import evaluate_agent
from train.evaluation.report.figures import write_figures
from train.evaluation.report.page import write_page


@pytest.fixture(scope="session")
def evaluations(make_videos, tiny_recognizer):
    """Two draws of the random agent and one of the center, on five videos of four frames."""
    env = PatchLocalizationVectorEnv.from_parts(
        tiny_recognizer, make_videos(), num_envs=5, autoreset_mode="disabled"
    )
    random = evaluate_agent(env, RandomAgent(env.single_action_space), seed=3, draws=2)
    return {"random": random, "center": evaluate_agent(env, center_agent(env.core), seed=3)}


@pytest.fixture(scope="session")
def evil():
    """A name that wants to run."""
    return "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def report(evil, evaluations, make_videos, benchmark_result, policy_row, tmp_path_factory):
    """`report.html` of three policies on these videos: data set, class 0 and a policy are evil."""
    judged, videos = {**evaluations, evil: evaluations["random"]}, make_videos()
    videos.class_names = (evil, "class 1", "class 2")
    folder = tmp_path_factory.mktemp("report")
    rows = [policy_row(name, learned=name == evil) for name in judged]
    result = benchmark_result(*rows, videos=5, dataset=evil)
    write_figures(result, folder)
    write_page(result, judged, videos, folder, range(5))
    return folder / "report.html"


@pytest.fixture(scope="session")
def mp4_frames():
    """Reads all frames of a video file, as RGB."""

    def read(path):
        capture, frames = cv2.VideoCapture(str(path)), []
        while True:
            ok, frame = capture.read()
            if not ok:
                return frames
            frames.append(frame[..., ::-1])

    return read
