"""What a built-in task is, and what its videos are drawn with: shapes with digits, clutter.

No font is used: digits are seven line segments, because fonts differ between OpenCV versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FRAME_SIZE = 112
VIDEO_FRAMES = 16
FRAMES_PER_SECOND = 8
CLASS_NAMES = tuple(f"digit {digit}" for digit in range(10))

_PAN_MARGIN = VIDEO_FRAMES  # the background pans at most one pixel a frame
_SUBPIXEL = 4  # OpenCV draws at 1 / 2**_SUBPIXEL pixel

# Corners of the seven segments on a digit of height 2 and width 1.1, as (x, y), y downwards.
_LEFT, _RIGHT = -0.55, 0.55
_SEGMENTS = {
    "a": ((_LEFT, -1.0), (_RIGHT, -1.0)),
    "b": ((_RIGHT, -1.0), (_RIGHT, 0.0)),
    "c": ((_RIGHT, 0.0), (_RIGHT, 1.0)),
    "d": ((_LEFT, 1.0), (_RIGHT, 1.0)),
    "e": ((_LEFT, 0.0), (_LEFT, 1.0)),
    "f": ((_LEFT, -1.0), (_LEFT, 0.0)),
    "g": ((_LEFT, 0.0), (_RIGHT, 0.0)),
}
DIGITS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcfgd")
NO_DIGITS = tuple(
    pattern
    for pattern in (
        "".join(s for i, s in enumerate("abcdefg") if bits >> i & 1) for bits in range(128)
    )
    if 2 <= len(pattern) <= 5 and frozenset(pattern) not in {frozenset(d) for d in DIGITS}
)


Rendered = tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class GlyphTask:
    """One kind of built-in videos.

    Attributes:
        media: what a feature bank's identity calls them.
        splits: split -> (seed, videos).
        render: `render(split seed, index)` gives frames `(16, 112, 112, 3)` uint8 RGB, the label
            `index % 10`, and the target's centres `(16, 2)` as (row, col).
        class_names: of its ten classes.
    """

    media: str
    splits: Mapping[str, tuple[int, int]]
    render: Callable[[int, int], Rendered]
    class_names: tuple[str, ...] = CLASS_NAMES


@dataclass
class Shape:
    """One moving shape: what it looks like, and where it is in each frame."""

    kind: str
    size: float
    color: tuple[int, int, int]
    ink: tuple[int, int, int]
    segments: str
    centers: npt.NDArray[np.float64]  # (frames, 2) as (x, y)
    tilts: npt.NDArray[np.float64]  # (frames,) radians


def draw_video(
    rng: np.random.Generator, shapes: Sequence[Sequence[Shape]]
) -> npt.NDArray[np.uint8]:
    """Shapes on a slowly panning background, with noise and a little flicker.

    Args:
        rng: decides the background, its movement and the noise.
        shapes: those of each of the 16 frames, the uppermost last.

    Returns:
        `(16, 112, 112, 3)` uint8 RGB.
    """
    background = _background(rng)
    pan = rng.uniform(-1.0, 1.0, size=2)
    brightness = rng.normal(0.0, 3.0, size=VIDEO_FRAMES)

    frames = np.empty((VIDEO_FRAMES, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    noise = np.empty(frames.shape[1:], np.float32)
    noisy = np.empty(frames.shape[1:], np.float64)
    for t in range(VIDEO_FRAMES):
        middle = (np.array(background.shape[:2]) - 1) / 2 + pan * (t - VIDEO_FRAMES / 2)
        size = (FRAME_SIZE, FRAME_SIZE)
        frame = cv2.getRectSubPix(background, size, (middle[1], middle[0])).astype(np.uint8)
        for shape in shapes[t]:
            _draw(frame, shape, t)
        rng.standard_normal(dtype=np.float32, out=noise)
        noise *= 8.0
        np.add(noise, brightness[t], out=noisy)
        noisy += frame
        frames[t] = np.clip(noisy, 0, 255, out=noisy)
    return frames


def _draw(frame: npt.NDArray[np.uint8], shape: Shape, t: int) -> None:
    center, radius, tilt = shape.centers[t], shape.size / 2, shape.tilts[t]
    if shape.kind == "disc":
        x, y = _fixed(center)
        cv2.circle(
            frame, (x, y), round(radius * 2**_SUBPIXEL), shape.color, -1, cv2.LINE_AA, _SUBPIXEL
        )
    else:
        corners = 4 if shape.kind == "square" else 3
        first = math.pi / 4 if shape.kind == "square" else -math.pi / 2
        angles = first + tilt + 2 * math.pi * np.arange(corners) / corners
        outline = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1) * 1.12
        polygon = np.round(outline * 2**_SUBPIXEL).astype(np.int32)
        cv2.fillPoly(frame, [polygon], shape.color, cv2.LINE_AA, _SUBPIXEL)
    half_height = 0.62 * shape.size / 2
    cos, sin = math.cos(tilt), math.sin(tilt)
    rotation = np.array([[cos, -sin], [sin, cos]])
    for segment in shape.segments:
        start, end = (center + rotation @ (np.array(p) * half_height) for p in _SEGMENTS[segment])
        cv2.line(frame, _fixed(start), _fixed(end), shape.ink, 2, cv2.LINE_AA, _SUBPIXEL)


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    """A point in OpenCV's fixed-point pixels."""
    return round(float(point[0]) * 2**_SUBPIXEL), round(float(point[1]) * 2**_SUBPIXEL)


def _background(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Four octaves of colour noise under 14 lines, ellipses and rectangles."""
    side = FRAME_SIZE + 2 * _PAN_MARGIN
    canvas = np.full((side, side, 3), rng.uniform(95.0, 150.0), np.float32)
    for octave in range(4):
        cells = 4 * 2**octave
        noise = rng.standard_normal((cells, cells, 3), dtype=np.float32) * np.float32(
            24.0 / 1.3**octave
        )
        canvas += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    background = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(14):
        _draw_clutter(rng, background, side)
    return background


def _draw_clutter(rng: np.random.Generator, canvas: npt.NDArray[np.uint8], side: int) -> None:
    kind = rng.integers(3)
    x, y = (int(v) for v in rng.integers(0, side, size=2))
    w, h = (int(v) for v in rng.integers(5, 16, size=2))
    angle = rng.uniform(0.0, 180.0)
    color = random_color(rng, (0, 180), (10, 130), (20, 240))
    thickness = int(rng.integers(1, 5))
    layer = canvas.copy()
    if kind == 0:
        dx, dy = 1.4 * w * math.cos(angle), 1.4 * w * math.sin(angle)
        cv2.line(layer, (x, y), (round(x + dx), round(y + dy)), color, thickness + 1, cv2.LINE_AA)
    elif kind == 1:
        filled = -1 if rng.random() < 0.4 else thickness
        cv2.ellipse(layer, (x, y), (w, h), angle, 0, 360, color, filled, cv2.LINE_AA)
    else:
        filled = -1 if rng.random() < 0.4 else thickness
        cv2.rectangle(layer, (x, y), (x + 2 * w, y + 2 * h), color, filled, cv2.LINE_AA)
    opacity = rng.uniform(0.4, 1.0)
    cv2.addWeighted(layer, opacity, canvas, 1.0 - opacity, 0.0, dst=canvas)


def random_color(
    rng: np.random.Generator,
    hue: tuple[int, int],
    saturation: tuple[int, int],
    value: tuple[int, int],
) -> tuple[int, int, int]:
    """A random RGB colour; hue in OpenCV's 0..179, bounds inclusive."""
    channels = [
        rng.integers(low, high + 1) % (180 if i == 0 else 256)
        for i, (low, high) in enumerate((hue, saturation, value))
    ]
    rgb = cv2.cvtColor(np.array([[channels]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(rgb[0]), int(rgb[1]), int(rgb[2])
