"""`glyphs`: a yellow disc with a digit drifts among look-alikes. Made from a seed.

The class is the digit on the *target*, the one disc whose colour is yellow. Colour shows where it
is even at 28x28 pixels; which digit it carries needs full resolution. So a glance tells where, a
patch tells what, and looking in the right place pays. Nothing is downloaded and no font is used:
digits are seven line segments, because fonts differ between OpenCV versions.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adafocus_env.data.glyphs.drawing import (
    CLASS_NAMES,
    DIGITS,
    FRAME_SIZE,
    FRAMES_PER_SECOND,
    LARGEST_TILT,
    NO_DIGITS,
    VIDEO_FRAMES,
    GlyphTask,
    Rendered,
    Shape,
    distractor_color,
    draw_video,
    ink_color,
    target_color,
    target_size,
)
from adafocus_env.data.media.video_files import write_mp4

# Split -> (seed, videos). Part of the environment's behaviour: a change makes a new "-vN".
SPLITS: dict[str, tuple[int, int]] = {"train": (1001, 800), "val": (1002, 250), "test": (2001, 500)}


def render_video(split_seed: int, index: int) -> Rendered:
    """Draw video `index` of the split with this seed.

    Returns:
        frames `(16, 112, 112, 3)` uint8 RGB; the label, `index % 10`; the target's centre in every
        frame `(16, 2)` as (row, col) pixels.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    size = target_size(rng)
    target = _moving_shape(rng, "disc", size, target_color(rng), DIGITS[label])
    distractors = [_distractor(rng, size) for _ in range(rng.integers(3, 6))]
    shapes = (*distractors, target)  # the target last: nothing hides it
    frames = draw_video(rng, [shapes] * VIDEO_FRAMES)
    return frames, label, target.centers[:, ::-1].astype(np.float32)


def write_video(split: str, index: int, path: Path) -> npt.NDArray[np.float32]:
    """Write one built-in video as `.mp4` (codec mp4v, 8 frames a second).

    Returns:
        the target's centre in every frame `(16, 2)` as (row, col) pixels.

    Raises:
        OSError: OpenCV cannot write the file.
    """
    frames, _, centers = render_video(SPLITS[split][0], index)
    write_mp4(path, frames, FRAMES_PER_SECOND)
    return centers


def _distractor(rng: np.random.Generator, largest: float) -> Shape:
    kind = ("disc", "square", "triangle")[rng.integers(3)]
    patterns = DIGITS if rng.random() < 0.5 else NO_DIGITS
    color = distractor_color(rng)
    size = largest * rng.uniform(0.8, 1.0)
    return _moving_shape(rng, kind, size, color, patterns[rng.integers(len(patterns))])


def _moving_shape(
    rng: np.random.Generator, kind: str, size: float, color: tuple[int, int, int], segments: str
) -> Shape:
    ink = ink_color(rng)
    limit = LARGEST_TILT
    drift = np.radians(rng.uniform(-1.5, 1.5, size=VIDEO_FRAMES))
    tilts = np.clip(rng.uniform(-limit, limit) + np.cumsum(drift), -limit, limit)
    return Shape(kind, size, color, ink, segments, _path(rng, size / 2), tilts)


def _path(rng: np.random.Generator, margin: float) -> npt.NDArray[np.float64]:
    """`(frames, 2)` centres: 3-6 px a frame, slowly turning, bouncing `margin` from the borders."""
    low, high = margin, FRAME_SIZE - margin
    position = rng.uniform(low, high, size=2)
    speed = rng.uniform(3.0, 6.0)
    heading = rng.uniform(0.0, 2 * math.pi)
    centers = np.empty((VIDEO_FRAMES, 2))
    for t in range(VIDEO_FRAMES):
        centers[t] = position
        heading += rng.uniform(-0.25, 0.25)
        velocity = speed * np.array([math.cos(heading), math.sin(heading)])
        beyond = (position + velocity < low) | (position + velocity > high)
        velocity[beyond] *= -1.0
        position = np.clip(position + velocity, low, high)
        heading = math.atan2(velocity[1], velocity[0])
    return centers


GLYPHS = GlyphTask("rendered", SPLITS, render_video)
