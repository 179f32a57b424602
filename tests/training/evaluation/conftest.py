"""What tests of reports share: results, evaluations, a page of evil labels, video frames."""

import cv2
import pytest

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.baselines.simple import RandomAgent, center_agent
from agents.evaluation import evaluate_agent
from train.evaluation.report.figures import write_figures
from train.evaluation.report.page import write_page


@pytest.fixture(scope="session")
def policy_row():
    """Makes one policy's entry in `benchmark.json` from made-up numbers; takes others for them."""

    def make(name, **changes):
        difference = {"mean": 0.466, "ci95": [0.43, 0.503]}
        looks = {
            "action_entropy_bits": 3.9, "max_entropy_bits": 4.0, "movement_pixels": 9.9,
            "location_histogram": [[1 / 16] * 4] * 4, "top_position": 5, "top_position_share": 0.13,
            "same_place_share": 0.2, "collapsed": False, "routine": False,
        }  # fmt: skip
        values = {
            "name": name, "agent": name, "family": name, "classifier": "own", "learned": False,
            "knows_label": False, "blind_frames": None, "blind_references": {},
            "reward_mean": 0.0601, "reward_ci95": [0.0552, 0.0649], "return_mean": 0.481,
            "reward_per_step": [0.1, 0.02], "confidence_mean": 0.9, "on_target": 0.72,
            "top1": 0.978, "top1_ci95": [0.964, 0.99], "top1_per_step": [0.7, 0.978],
            "map": 0.991, "map_per_step": [0.8, 0.991], "gmacs_per_video": 0.134,
            "gmacs_executed_per_video": 0.2, "gmacs_per_step": [0.067, 0.067],
            "skip_cost": None, "kept_share": 1.0, "kept_per_step": [1.0, 1.0],
            "differences": {"random": {"return": difference}}, "videos_per_second": 100.0,
            "regret": {"mean": 0.12, "ci95": [0.1, 0.14]}, "diagnostics": looks,
            "over_seeds": None, "train": None, "conditional_exit": None,
            "belief_exit": None, "per_seed": None,
        }  # fmt: skip
        return {**values, **changes}

    return make


@pytest.fixture(scope="session")
def benchmark_result(policy_row):
    """Makes a `benchmark.json` of some policies; other entries as named."""

    def make(*policies, **entries):
        values = {
            "videos": 500, "split": "test", "seed": 3, "recognizer_sha256": "ab" * 32,
            "verdict": None, "dataset": "glyphs", "reward": "random", "metric": "top1",
            "num_frames": 2, "frame_size": 40, "patch_size": 12, "map_rule": "standard",
            "map_labels": "all",
        }  # fmt: skip
        return {**values, "policies": list(policies) or [policy_row("random")], **entries}

    return make


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
