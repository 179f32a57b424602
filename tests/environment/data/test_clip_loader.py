"""ClipLoader: workers load the same clips, ahead where they are announced, and fail as loudly."""

import errno
import os

import numpy as np
import psutil
import pytest
import torch

from adafocus_env.data import clip_loader
from adafocus_env.data.clip_loader import ClipLoader
from adafocus_env.data.clips import VideoError
from adafocus_env.worker_process import WorkerError
from agents.baselines.simple import RandomAgent
from agents.evaluation import evaluate_agent

N, T = 3, 4


@pytest.fixture
def one_broken(make_videos):
    """Videos of which that of index 4 cannot be read."""
    videos = make_videos()
    clip = videos.clip

    def read(index, episode_seed):
        if index == 4:
            raise VideoError("v4.mp4 cannot be read")
        return clip(index, episode_seed)

    videos.clip = read
    return videos


@pytest.fixture
def loader(one_broken):
    return ClipLoader(one_broken, num_workers=2)


def test_workers_load_the_clips_that_are_loaded_without_them(loader, make_videos):
    keys = [(3, 2**64 - 1), (0, 7), (0, 8), (3, 2**64 - 1)]
    for key, clip in zip(keys, loader.load(keys), strict=True):
        expected = make_videos().clip(*key)
        assert torch.equal(clip.frames, expected.frames)
        assert (clip.frames.dtype, clip.label) == (torch.uint8, expected.label)


def test_announced_clips_are_loaded_once_and_others_forgotten(loader):
    loader.prefetch([(0, 1), (1, 1)])
    first = dict(loader._coming)
    loader.prefetch([(1, 1), (2, 1)])
    assert loader._coming.keys() == {(1, 1), (2, 1)}
    assert loader._coming[1, 1] is first[1, 1]
    loader.load([(2, 1), (3, 1)])
    assert loader._coming.keys() == {(1, 1)}


def test_an_unreadable_video_is_an_error_only_where_it_is_needed(loader):
    loader.prefetch([(4, 0), (1, 0)])
    assert loader.load([(1, 0)])[0].label == 1
    with pytest.raises(VideoError, match=r"v4.mp4 cannot be read"):
        loader.load([(4, 0)])
    assert len(loader.load([(2, 0)])) == 1


def test_without_workers_nothing_is_loaded_ahead(one_broken):
    loader = ClipLoader(one_broken)
    assert not loader.works_ahead
    loader.prefetch([(4, 0)])
    with pytest.raises(VideoError):
        loader.load([(4, 0)])
    with pytest.raises(ValueError, match="num_workers must be 0 or more, not -1"):
        ClipLoader(one_broken, -1)


def _episodes(env):
    """Rollouts as `GruPPO` collects them, and a reset with a new seed between two of them."""
    env.reset(seed=6)
    for videos in ([4, 0, 4], [1, 2, 3], [0, 0, 1]):
        env.schedule_videos(videos)
        if videos[0] == 1:
            env.reset(seed=9)
        yield vars(env.play(np.full((N, T), 30)))
    yield {"next": env.observe_episode()}


def test_scheduled_videos_are_what_is_loaded_ahead(make_vector_env):
    env = make_vector_env(N, num_workers=1)
    env.schedule_videos([0, 0, 0])  # no seeds yet: nothing to load
    env.reset(seed=6)
    env.schedule_videos([4, 0, 2])
    coming = env.core.source.clips._coming
    announced = list(coming)
    assert [index for index, _ in announced] == [4, 0, 2]
    env.play(np.zeros((N, T), np.int64))
    assert [(start.video_index, start.episode_seed) for start in env.core.starts] == announced
    assert not coming


def test_rollouts_and_evaluation_are_the_same_with_workers(make_vector_env, assert_equal):
    ahead, alone = make_vector_env(N, num_workers=1), make_vector_env(N)
    for one, other in zip(_episodes(ahead), _episodes(alone), strict=True):
        assert_equal(one, other)
    results = []
    for workers in (0, 1):
        env = make_vector_env(2, autoreset_mode="disabled", num_workers=workers)
        agent = RandomAgent(env.single_action_space)
        results.append(vars(evaluate_agent(env, agent, draws=2)))
    assert_equal(results[1], results[0])


def test_a_closed_loader_has_no_workers_and_loads_in_this_process(loader, make_videos):
    loader.load([(0, 1)])
    workers = [psutil.Process(number) for number in loader._workers._processes]
    loader.close()
    assert not any(worker.is_running() for worker in workers)
    (clip,) = loader.load([(3, 7)])
    assert torch.equal(clip.frames, make_videos().clip(3, 7).frames)


def test_closed_environments_keep_no_workers_while_they_are_referenced(make_env, make_vector_env):
    before = set(psutil.Process().children())
    envs = [make_env(num_workers=1), make_vector_env(2, num_workers=1)]
    for env in envs:
        env.reset(seed=0)
    assert len(set(psutil.Process().children()) - before) == 2
    for env in envs:
        env.close()
    assert set(psutil.Process().children()) == before
    assert envs[0].core.source.clips is not None


def test_a_worker_that_dies_is_told_with_the_cure(make_videos):
    videos = make_videos()
    videos.clip = lambda index, episode_seed: os._exit(3)
    loader = ClipLoader(videos, num_workers=1)
    with pytest.raises(WorkerError, match=r"a worker process died.* num_workers=1, or a video"):
        loader.load([(0, 0)])


def test_processes_that_the_system_cannot_give_are_told_with_the_cure(make_videos, monkeypatch):
    def refuse(*arguments, **more):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(clip_loader, "ProcessPoolExecutor", refuse)
    with pytest.raises(WorkerError, match=r"num_workers=2 .*Permission denied.* use num_workers=0"):
        ClipLoader(make_videos(), num_workers=2)
