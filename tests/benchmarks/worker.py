"""A process that builds one task and runs it whenever a line comes in; see `timing.py`.

usage: worker.py TASK default|kept THREADS
"""

from __future__ import annotations

import json
import resource
import sys
import time

import torch

from tasks import TASKS
from train.allocator import keep_freed_memory

_MATRIX = 2048


def matmul_rate(threads: int, dtype: str) -> float:
    """Multiply-adds a second of a matrix product of side 2048, the best of three."""
    left, right = torch.rand(2, _MATRIX, _MATRIX).to(getattr(torch, dtype))
    seconds = []
    for _ in range(3):
        began = clock(threads)
        left @ right
        seconds.append(clock(threads) - began)
    return _MATRIX**3 / min(seconds)


def clock(threads: int) -> float:
    """CPU time where one thread works: other processes do not count; else wall-clock time."""
    return time.process_time() if threads == 1 else time.perf_counter()


def _memory_mib(kind: str) -> float:
    if kind == "peak":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main(name: str, allocator: str, threads: int) -> None:
    """Serve until standard input ends."""
    torch.set_num_threads(threads)
    if allocator == "kept":
        keep_freed_memory()
    task = TASKS[name]()
    resident = _memory_mib("now")
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        rate = matmul_rate(threads, getattr(task, "dtype", "float32"))
        began = clock(threads)
        task.run()
        seconds = clock(threads) - began
        answer = {
            "seconds": seconds,
            "floor": task.multiply_adds / rate if task.multiply_adds else float("nan"),
            "peak_mib": _memory_mib("peak"),
            "resident_mib": resident,
        }
        print(json.dumps(answer), flush=True)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
