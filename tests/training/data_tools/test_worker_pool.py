"""Processes that work on videos."""

import os

import pytest

from adafocus_env.worker_process import WorkerError
from train.data_tools.worker_pool import WorkerPool, tell


def test_jobs_are_done_here_in_order_or_by_workers_as_often_as_asked():
    with WorkerPool(0) as pool:
        assert list(pool.run(abs, [-3, 1, -2])) == [(-3, 3), (1, 1), (-2, 2)]
    with WorkerPool(1) as pool:
        assert dict(pool.run(abs, [-3, 1, -2])) == {-3: 3, 1: 1, -2: 2}
        assert dict(pool.run(abs, [-5])) == {-5: 5}


def test_errors_of_jobs_and_of_processes_are_raised_here():
    with WorkerPool(1) as pool, pytest.raises(WorkerError, match=r"the memory was too small .* or"):
        list(pool.run(os._exit, [3]))
    with WorkerPool(1) as pool, pytest.raises(ValueError, match="invalid literal"):
        list(pool.run(int, ["1", "one"]))


def test_what_workers_tell_is_heard_to_the_last_word():
    heard = []
    with WorkerPool(2, hear=heard.append) as pool:
        assert len(list(pool.run(tell, list(range(50))))) == 50
    assert sorted(heard) == list(range(50))
    tell("nobody listens")


def test_a_worker_that_dies_does_not_silence_the_end():
    heard = []
    with WorkerPool(1, hear=heard.append) as pool, pytest.raises(WorkerError):
        list(pool.run(os._exit, [3]))
    assert heard == []
