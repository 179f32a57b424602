"""The largest numbers that can be meant, and a lowest one.

More is refused before memory or hours go into it.
"""

FRAMES = 4096  # of a clip
SIDE = 4096  # of a picture, in pixels
UNITS = 2**16  # of a layer
VIDEO_FRAMES = 10_000_000  # of a video: four days
FRAME_RATE = 1000  # frames a second
LOWEST_FRAME_RATE = 0.001
PROCESSES = 256
SECONDS = 7 * 24 * 3600  # of waiting
COUNT = 1_000_000  # of anything else
SEED = 2**32 - 1  # what NumPy's oldest generator takes
