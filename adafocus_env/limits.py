"""The largest numbers that can be meant, and a lowest one.

More is refused before memory or hours go into it.
"""

import os

FRAMES = 4096  # of a clip
SIDE = 4096  # of a picture, in pixels
UNITS = 2**16  # of a layer
VIDEO_FRAMES = 10_000_000  # of a video: four days
FRAME_RATE = 1000  # frames a second
LOWEST_FRAME_RATE = 0.001
SECONDS = 7 * 24 * 3600  # of waiting
COUNT = 1_000_000  # of anything else
SEED = 2**32 - 1  # what NumPy's oldest generator takes

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
# Those that load from a slow disk mostly wait, so several are of use to a processor.
PROCESSES = max(32, 4 * (PROCESSORS or 1))
WHY_PROCESSES = (
    f"this process may use {PROCESSORS} processors; more than one or two for each of them are "
    "seldom faster"
)
