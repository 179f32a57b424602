"""Processes that work on videos."""

import os

import pytest

from train.config.sections import ConfigError
from train.data_tools.worker_pool import WorkerPool


def test_without_workers_the_work_is_done_here_and_in_order():
    with WorkerPool(0) as pool:
        assert list(pool.run(abs, [-3, 1, -2])) == [(-3, 3), (1, 1), (-2, 2)]


def test_workers_do_every_job_and_the_pool_serves_twice():
    with WorkerPool(1) as pool:
        assert dict(pool.run(abs, [-3, 1, -2])) == {-3: 3, 1: 1, -2: 2}
        assert dict(pool.run(abs, [-5])) == {-5: 5}


def test_a_process_that_dies_is_an_error_with_its_likely_causes():
    with WorkerPool(1) as pool, pytest.raises(ConfigError, match=r"the memory was too small .* or"):
        list(pool.run(os._exit, [3]))


def test_an_error_in_a_job_is_raised_here():
    with WorkerPool(1) as pool, pytest.raises(ValueError, match="invalid literal"):
        list(pool.run(int, ["1", "one"]))
