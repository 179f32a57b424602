"""What the three built-in tasks share: videos of a split, and identities of their own."""

import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs import localization, memory, order

OPTIONS = VideoOptions(num_frames=8, num_glance_frames=8, frame_size=112)
RENDER = {
    "glyphs": (localization.render_video, localization.SPLITS),
    "glyphs_memory": (memory.render_memory_video, memory.SPLITS),
    "glyphs_order": (order.render_order_video, order.SPLITS),
}
TASKS = ("glyphs", "glyphs_memory", "glyphs_memory_flicker", "glyphs_order")


@pytest.mark.parametrize("task", RENDER)
def test_a_video_is_determined_by_split_seed_and_index(task):
    render, splits = RENDER[task]
    seed = splits["val"][0]
    frames, label, centers = render(seed, 13)
    again, same_label, same_centers = render(seed, 13)
    assert label == same_label == 3
    assert type(label) is int
    assert (frames.shape, frames.dtype) == ((16, 112, 112, 3), np.uint8)
    assert (centers.shape, centers.dtype) == ((16, 2), np.float32)
    np.testing.assert_array_equal(frames, again)
    np.testing.assert_array_equal(centers, same_centers)
    for other in ((seed, 23), (splits["train"][0], 13), (splits["test"][0], 13)):
        other_frames, other_label, other_centers = render(*other)
        assert other_label == 3
        assert not np.allclose(centers, other_centers, atol=5.0)
        assert np.abs(frames.astype(int) - other_frames).mean() > 10


@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_its_size_and_equally_many_videos_of_each_class(task):
    sizes = {"train": 800 if task == "glyphs" else 1600, "val": 250, "test": 500}
    for split, count in sizes.items():
        videos = open_videos(task, split, OPTIONS)
        assert len(videos) == count
        assert np.bincount(videos.labels).tolist() == [count // 10] * 10
        assert [videos.clip(i, 0).label for i in (0, 17, count - 1)] == [0, 7, 9]
    assert videos.class_names[7] == ("digit 7 then 6" if task == "glyphs_order" else "digit 7")


def test_no_two_splits_of_the_tasks_share_a_seed_nor_two_tasks_a_bank():
    tasks = (localization.SPLITS, memory.SPLITS, memory.FLICKER_SPLITS, order.SPLITS)
    seeds = [seed for task in tasks for seed, _ in task.values()]
    assert len(set(seeds)) == len(seeds) == 12
    media = [open_videos(t, "val", OPTIONS).identity()["preprocessing"]["media"] for t in TASKS]
    assert media[0] == "rendered"
    assert len(set(media)) == 4
