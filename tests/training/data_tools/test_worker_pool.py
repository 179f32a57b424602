"""Processes that work on videos."""

import os

import pytest

from adafocus_env.worker_process import WorkerError
from train.data_tools.worker_pool import WorkerPool


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
