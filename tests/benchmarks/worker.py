"""A process that builds one task and runs it whenever a line comes in; see `timing.py`.

usage: worker.py TASK default|kept THREADS

It listens from its first moment, before the slow imports, and ends when its standard input does:
whatever its parent dies of, and whatever it is doing then.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tasks import TASKS
from train.cli.allocator import keep_freed_memory

_MATRIX = 2048
_AT_LEAST = 0.5  # seconds of a repeat: what is short is run several times in a row
_RESNET_MULTIPLY_ADDS = 4.087136e9  # of one frame of 224 pixels (`adafocus_env/PUBLISHED.md`)


def matmul_rate(threads: int, dtype: str) -> float:
    """Multiply-adds a second of a matrix product of side 2048, the best of three."""
    import torch

    left, right = torch.rand(2, _MATRIX, _MATRIX).to(getattr(torch, dtype))
    seconds = []
    for _ in range(3):
        began = clock(threads)
        left @ right
        seconds.append(clock(threads) - began)
    return _MATRIX**3 / min(seconds)


def resnet_rate(threads: int) -> float:
    """Multiply-adds a second of torchvision's ResNet-50 on 16 frames of 224 pixels, best of two."""
    import torch
    from torchvision.models import resnet50

    network = resnet50().eval().to(memory_format=torch.channels_last)
    frames = torch.rand(16, 3, 224, 224).to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(2):
        began = clock(threads)
        with torch.no_grad():
            network(frames)
        seconds.append(clock(threads) - began)
    return 16 * _RESNET_MULTIPLY_ADDS / min(seconds)


def clock(threads: int) -> float:
    """CPU time where one thread works: only processes of its own count; else wall-clock time."""
    if threads != 1:
        return time.perf_counter()
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + started.ru_utime + started.ru_stime


def _memory_mib(name: str) -> float:
    """`VmRSS`, resident memory now, or `VmHWM`, its peak since `_forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _give_back_freed_memory() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _seconds_of_one(run: Callable[[], object], threads: int) -> float:
    """Mean of as many runs as half a second holds, one at least: training too goes on and on."""
    began, count = clock(threads), 0
    while count == 0 or clock(threads) - began < _AT_LEAST:
        run()
        count += 1
    return (clock(threads) - began) / count


def _listen(commands: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        commands.put(line)
    os._exit(0)


def main(name: str, allocator: str, threads: int) -> None:
    """Serve until standard input ends."""
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too
    import torch

    torch.set_num_threads(threads)
    if allocator == "kept":
        keep_freed_memory()
    task = TASKS[name]()
    _give_back_freed_memory()
    resident = _memory_mib("VmRSS")
    _forget_peak()
    peak, resnet = 0.0, 1.0
    print(json.dumps({"ready": True}), flush=True)
    for repeat in itertools.count():
        commands.get()
        rate = matmul_rate(threads, getattr(task, "dtype", "float32"))
        seconds = _seconds_of_one(task.run, threads)
        if repeat <= 1:  # from the second update on there are Adam's moments
            peak = _memory_mib("VmHWM")
        if repeat == 1:  # not before: it needs memory of its own
            resnet = resnet_rate(threads) if task.multiply_adds else 1.0
        known = task.multiply_adds or float("nan")
        answer = {
            "seconds": seconds,
            "floor": known / rate,
            "resnet_floor": known / resnet,
            "peak_mib": peak,
            "resident_mib": resident,
            "frames": getattr(task, "frames", 0),
        }
        print(json.dumps(answer), flush=True)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
