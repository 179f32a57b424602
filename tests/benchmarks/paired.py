"""Timing of two or more ways of doing the same, interleaved in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Ways = Mapping[str, Callable[[], object]]


def cpu_seconds(ways: Ways, *, repeats: int = 5) -> dict[str, float]:
    """Median process CPU seconds of each way, after one warm-up of each.

    Other processes on the machine hardly change CPU time, and what they change meets all ways
    alike. Waiting threads that spin would count, so use one thread or passive waiting.
    """
    return _medians(ways, repeats, time.process_time)


def cuda_seconds(ways: Ways, *, repeats: int = 5) -> dict[str, float]:
    """Median seconds of each way until the GPU has finished, after one warm-up of each."""

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return _medians(ways, repeats, now)


def _medians(ways: Ways, repeats: int, now: Callable[[], float]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name]()
    for _ in range(repeats):
        for name, way in ways.items():
            began = now()
            way()
            seconds[name].append(now() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def matrix_product(
    device: torch.device, dtype: torch.dtype = torch.float32
) -> Callable[[], object]:
    """A product of two large matrices, `MATRIX_FLOP` operations: a way, for the floor."""
    one = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype)
    other = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype)
    return lambda: one @ other


MATRIX_SIDE = 2048
MATRIX_FLOP = 2 * MATRIX_SIDE**3
