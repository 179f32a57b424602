"""The recognizer that ships with the package: what it can do, and on which videos."""

import numpy as np
import pytest

from adafocus_env.data import GlyphVideos, ListedVideos
from adafocus_env.data.glyphs.drawing import CLASS_NAMES, VIDEO_FRAMES
from adafocus_env.data.glyphs.localization import write_video
from adafocus_env.data.lists.list_files import VideoRecord
from adafocus_env.data.media.video_files import VideoFileReader
from adafocus_env.data.transforms import ClipTransform
from adafocus_env.envs import PatchLocalizationVectorEnv, shipped_recognizer
from adafocus_env.networks import Recognizer
from agents.baselines.simple import RandomAgent
from agents.evaluation import evaluate_agent

pytestmark = pytest.mark.slow


def _evaluate_random(videos):
    env = PatchLocalizationVectorEnv.from_parts(
        Recognizer.load(shipped_recognizer()), videos, num_envs=50, autoreset_mode="disabled"
    )
    # Three draws: with one, three of 250 predictions near a tie are more than a point.
    return evaluate_agent(env, RandomAgent(env.single_action_space), draws=3)


def test_random_patches_name_most_but_not_all_digits_in_memory_as_in_files(tmp_path):
    """Room to learn: the policy's task is neither solved nor hopeless (10 classes, chance .1)."""
    drawn = GlyphVideos("val", keep=True)
    in_memory = _evaluate_random(drawn)
    top1 = in_memory.correct()[:, -1].mean()
    assert 0.6 < top1 < 0.9
    records = []
    for index in range(len(drawn)):
        path = tmp_path / f"{index}.mp4"
        write_video("val", index, path)
        records.append(VideoRecord(path, VIDEO_FRAMES, (index % len(CLASS_NAMES),)))
    rules = {"num_frames": 8, "transform": ClipTransform(112, crop=False), "keep_decoded": True}
    reader = VideoFileReader(tmp_path.resolve())
    from_files = _evaluate_random(ListedVideos(records, CLASS_NAMES, reader, **rules))
    np.testing.assert_array_equal(in_memory.actions, from_files.actions)
    # The codec changes top-1 by at most one point.
    assert abs(top1 - from_files.correct()[:, -1].mean()) <= 0.01
