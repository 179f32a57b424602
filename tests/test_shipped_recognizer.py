"""The recognizer that ships with the package: what it can do, and on which videos."""

from pathlib import Path

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


def evaluate_random(videos):
    env = PatchLocalizationVectorEnv.from_parts(
        Recognizer.load(shipped_recognizer()), videos, num_envs=50, autoreset_mode="disabled"
    )
    # Four draws: with one, three of 250 predictions near a tie are more than a point.
    return evaluate_agent(env, RandomAgent(env.single_action_space), draws=4)


@pytest.fixture(scope="module")
def in_memory():
    return evaluate_random(GlyphVideos("val"))


@pytest.fixture(scope="module")
def from_files(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("videos")
    records = []
    for index in range(len(GlyphVideos("val"))):
        path = folder / f"{index}.mp4"
        write_video("val", index, path)
        records.append(VideoRecord(path, VIDEO_FRAMES, (index % len(CLASS_NAMES),)))
    transform = ClipTransform(112, crop=False)
    reader = VideoFileReader(folder.resolve())
    return evaluate_random(
        ListedVideos(records, CLASS_NAMES, reader, num_frames=8, transform=transform)
    )


def test_random_patches_name_most_but_not_all_digits(in_memory):
    """Room to learn: the policy's task is neither solved nor hopeless (10 classes, chance .1)."""
    assert 0.6 < in_memory.correct()[:, -1].mean() < 0.9


def test_the_codec_changes_top1_by_at_most_one_point(in_memory, from_files):
    np.testing.assert_array_equal(in_memory.actions, from_files.actions)
    top1 = [evaluation.correct()[:, -1].mean() for evaluation in (in_memory, from_files)]
    assert abs(top1[0] - top1[1]) <= 0.01


def test_the_shipped_files_are_small():
    assert sum(file.stat().st_size for file in shipped_recognizer().iterdir()) < 5e6
