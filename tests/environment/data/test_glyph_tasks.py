"""What the built-in tasks share: videos of a split, and identities of their own."""

import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.catalog import TASKS
from adafocus_env.data.glyphs import localization, memory, order, search

RENDER = {
    "glyphs": (localization.render_video, localization.SPLITS),
    "glyphs_memory": (memory.render_memory_video, memory.SPLITS),
    "glyphs_order": (order.render_order_video, order.SPLITS),
    "glyphs_search": (search.render_search_picture, search.SPLITS),
}
SIZES = {
    "glyphs": (800, 250, 500),
    "glyphs_memory": (1600, 250, 500),
    "glyphs_memory_flicker": (1600, 250, 500),
    "glyphs_order": (1600, 250, 500),
    "glyphs_search": (4000, 400, 600),
    "glyphs_search_marks": (7600, 380, 380),
    "glyphs_search_discs": (4000, 400, 400),
    "glyphs_search_digits": (2000, 400, 400),
}


def open_task(task, split):
    glances = 8 if task == "glyphs_order" else None
    side = TASKS[task].frame_size
    return open_videos(
        task, split, VideoOptions(num_frames=8, num_glance_frames=glances, frame_size=side)
    )


@pytest.mark.parametrize("task", RENDER)
def test_a_video_is_determined_by_split_seed_and_index(task):
    render, splits = RENDER[task]
    seed = splits["val"][0]
    frames, label, centers = render(seed, 13)
    again, same_label, same_centers = render(seed, 13)
    assert label == same_label == 3
    assert type(label) is int
    shape, count = ((1, 224, 224, 3), 1) if task == "glyphs_search" else ((16, 112, 112, 3), 16)
    assert (frames.shape, frames.dtype) == (shape, np.uint8)
    assert (centers.shape, centers.dtype) == ((count, 2), np.float32)
    np.testing.assert_array_equal(frames, again)
    np.testing.assert_array_equal(centers, same_centers)
    for other in ((seed, 23), (splits["train"][0], 13), (splits["test"][0], 13)):
        other_frames, other_label, other_centers = render(*other)
        assert other_label == 3
        assert not np.allclose(centers, other_centers, atol=5.0)
        assert np.abs(frames.astype(int) - other_frames).mean() > 10


@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_its_size_and_equally_many_videos_of_each_class(task):
    names = TASKS[task].class_names
    for split, count in zip(("train", "val", "test"), SIZES[task], strict=True):
        videos = open_task(task, split)
        classes = len(videos.class_names)
        assert videos.class_names == names
        assert len(videos) == count
        assert np.bincount(videos.labels).tolist() == [count // classes] * classes
        chosen = (0, 17, count - 1)
        assert [videos.clip(i, 0).label for i in chosen] == [0, 17 % classes, classes - 1]


def test_no_two_splits_of_the_tasks_share_a_seed_nor_two_tasks_a_bank():
    seeds = [seed for task in TASKS.values() for seed, _ in task.splits.values()]
    assert len(set(seeds)) == len(seeds) == 24
    media = [open_task(task, "val").identity()["preprocessing"]["media"] for task in TASKS]
    assert media[0] == "rendered"
    assert len(set(media)) == 8
