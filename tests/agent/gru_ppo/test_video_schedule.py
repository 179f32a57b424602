"""VideoSchedule: batches of an epoch in which every video comes once."""

import json
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from agents.gru_ppo.video_schedule import VideoSchedule


def _batches(schedule, count):
    return [schedule.next().tolist() for _ in range(count)]


def _indices(schedule, count):
    return list(chain.from_iterable(_batches(schedule, count)))


@pytest.mark.parametrize(
    ("videos", "batch", "updates"), [(6, 3, 2), (7, 3, 2), (8, 8, 1), (5, 1, 5)]
)
def test_an_epoch_has_floor_videos_over_batch_batches_of_different_videos(videos, batch, updates):
    schedule = VideoSchedule(videos, batch, seed=0)
    for _ in range(5):
        epoch = _batches(schedule, updates)
        assert [len(indices) for indices in epoch] == [batch] * updates
        flat = list(chain.from_iterable(epoch))
        assert len(set(flat)) == len(flat) == batch * updates
        assert set(flat) <= set(range(videos))


def test_every_epoch_has_a_new_order_and_leaves_other_videos_out():
    schedule = VideoSchedule(50, 25, seed=0)
    epochs = [_indices(schedule, 2) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(50))
    schedule = VideoSchedule(7, 3, seed=0)
    left_out = {*range(7)}
    for _ in range(20):
        left_out -= set(_indices(schedule, 2))
    assert left_out == set()


def test_a_batch_larger_than_the_split_takes_whole_orders():
    schedule = VideoSchedule(4, 10, seed=0)
    for (batch,) in (_batches(schedule, 1) for _ in range(5)):
        assert len(batch) == 10
        # Three orders make 12 indices, of which 10 are shown: each video two or three times.
        assert sorted(batch[:4]) == sorted(batch[4:8]) == [0, 1, 2, 3]
        assert set(Counter(batch).values()) == {2, 3}


def test_the_order_belongs_to_the_seed_and_to_no_global_generator():
    def orders(seed):
        return _batches(VideoSchedule(30, 10, seed), 6)

    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_restored_schedule_goes_on_with_the_batches_and_orders_that_follow():
    schedule = VideoSchedule(6, 2, seed=0)
    _batches(schedule, 2)
    restored = VideoSchedule(6, 2, seed=0)
    restored.restore(json.loads(json.dumps(schedule.state())))
    assert _batches(restored, 7) == _batches(schedule, 7)  # the rest of this epoch and two more
