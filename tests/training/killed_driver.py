"""Runs `adafocus ARGUMENTS` and kills itself (SIGKILL) at a given moment.

usage: killed_driver.py step|sync COUNT ARGUMENTS...

`step`: after the COUNT-th optimiser step; `sync`: at the COUNT-th time a file is synced to disk,
which is after it was written under its temporary name and before it is renamed.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from train.cli.main import main

moment, count = sys.argv[1], int(sys.argv[2])
seen = 0


def tick(*_: Any) -> None:
    global seen
    seen += 1
    if seen == count:
        os.kill(os.getpid(), signal.SIGKILL)


if moment == "step":
    register_optimizer_step_post_hook(tick)
else:
    sync = os.fsync

    def counted(descriptor: int) -> None:
        tick()
        sync(descriptor)

    os.fsync = counted
torch.set_num_threads(1)
sys.exit(main(sys.argv[3:]))
