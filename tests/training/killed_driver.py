"""Runs `adafocus ARGUMENTS` and kills itself (SIGKILL) when a file is synced for the COUNT-th time.

usage: killed_driver.py COUNT ARGUMENTS...

The file was then written under its temporary name and is not yet renamed.
"""

import os
import signal
import sys

import torch

from train.cli.main import main

count = int(sys.argv[1])
sync, seen = os.fsync, []


def counted(descriptor):
    seen.append(descriptor)
    if len(seen) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)


os.fsync = counted
torch.set_num_threads(1)
sys.exit(main(sys.argv[2:]))
