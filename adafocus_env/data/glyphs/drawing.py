"""What a built-in task is, and what its pictures are drawn with: shapes with digits, clutter.

No font is used: digits are seven line segments, because fonts differ between OpenCV versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FRAME_SIZE = 112
VIDEO_FRAMES = 16
FRAMES_PER_SECOND = 8
BRIGHTNESS = 3.0  # standard deviation between frames, of 0..255
LARGEST_TILT = math.radians(15.0)  # of a shape
CLASS_NAMES = tuple(f"digit {digit}" for digit in range(10))

_PAN_MARGIN = VIDEO_FRAMES  # the background pans at most one pixel a frame
_SUBPIXEL = 4  # OpenCV draws at 1 / 2**_SUBPIXEL pixel
_COARSEST = 36  # pixels between the nodes of the first octave of a background's noise
_CLUTTER = 14 / 144**2  # pieces of clutter a pixel

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
        render: `render(split seed, index)` gives frames `(n, side, side, 3)` uint8 RGB, the label
            `index % K`, and the target's centres `(n, 2)` as (row, col).
        class_names: of its K classes.
        video_frames: n, frames of a video; 1 for still pictures.
        frame_size: side of a frame in pixels.
    """

    media: str
    splits: Mapping[str, tuple[int, int]]
    render: Callable[[int, int], Rendered]
    class_names: tuple[str, ...] = CLASS_NAMES
    video_frames: int = VIDEO_FRAMES
    frame_size: int = FRAME_SIZE


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
    background = draw_background(rng, FRAME_SIZE + 2 * _PAN_MARGIN)
    pan = rng.uniform(-1.0, 1.0, size=2)
    brightness = rng.normal(0.0, BRIGHTNESS, size=VIDEO_FRAMES)

    frames = np.empty((VIDEO_FRAMES, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    for t in range(VIDEO_FRAMES):
        middle = (np.array(background.shape[:2]) - 1) / 2 + pan * (t - VIDEO_FRAMES / 2)
        size = (FRAME_SIZE, FRAME_SIZE)
        frame = cv2.getRectSubPix(background, size, (middle[1], middle[0])).astype(np.uint8)
        for shape in shapes[t]:
            _draw(frame, shape, t)
        frames[t] = with_noise(rng, frame, brightness[t])
    return frames


def with_noise(
    rng: np.random.Generator, frame: npt.NDArray[Any], brightness: float
) -> npt.NDArray[np.uint8]:
    """A frame `(H, W, 3)` in 0..255 as a camera sees it.

    Args:
        rng: decides the noise.
        frame: of any number type; fractions decide how a pixel is rounded.
        brightness: is added to all pixels; its standard deviation is `BRIGHTNESS`.
    """
    noise = rng.standard_normal(dtype=np.float32, size=frame.shape)
    noise *= 8.0
    noisy = np.add(noise, brightness, dtype=np.float64)
    noisy += frame
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _draw(frame: npt.NDArray[np.uint8], shape: Shape, t: int) -> None:
    center, radius, tilt = shape.centers[t], shape.size / 2, shape.tilts[t]
    if shape.kind == "disc":
        draw_disc(frame, center, radius, shape.color)
    else:
        corners = 4 if shape.kind == "square" else 3
        first = math.pi / 4 if shape.kind == "square" else -math.pi / 2
        angles = first + tilt + 2 * math.pi * np.arange(corners) / corners
        outline = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1) * 1.12
        polygon = np.round(outline * 2**_SUBPIXEL).astype(np.int32)
        cv2.fillPoly(frame, [polygon], shape.color, cv2.LINE_AA, _SUBPIXEL)
    draw_digit(frame, shape.segments, center, shape.size, tilt, shape.ink)


def draw_digit(
    canvas: npt.NDArray[np.uint8],
    segments: str,
    center: npt.NDArray[np.float64],
    size: float,
    tilt: float,
    ink: tuple[int, int, int] | int,
) -> None:
    """Draw the segments of a digit on a shape.

    Args:
        canvas: `(H, W, 3)`, or `(H, W)` where the ink is one number.
        segments: some of the letters `a` to `g`.
        center: (x, y) in pixels.
        size: diameter of the shape in pixels.
        tilt: in radians.
        ink: its colour.
    """
    half_height = 0.62 * size / 2
    cos, sin = math.cos(tilt), math.sin(tilt)
    rotation = np.array([[cos, -sin], [sin, cos]])
    for segment in segments:
        start, end = (center + rotation @ (np.array(p) * half_height) for p in _SEGMENTS[segment])
        draw_stroke(canvas, start, end, ink)


def draw_stroke(
    canvas: npt.NDArray[np.uint8],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    ink: tuple[int, int, int] | int,
) -> None:
    """A line of two pixels between two points, given as (x, y) in fractions of pixels."""
    cv2.line(canvas, _fixed(start), _fixed(end), ink, 2, cv2.LINE_AA, _SUBPIXEL)


def draw_disc(
    canvas: npt.NDArray[np.uint8],
    center: npt.NDArray[np.float64],
    radius: float,
    color: tuple[int, int, int] | int,
) -> None:
    """A filled circle; the arguments are those of `draw_digit`."""
    reach = round(radius * 2**_SUBPIXEL)
    cv2.circle(canvas, _fixed(center), reach, color, -1, cv2.LINE_AA, _SUBPIXEL)


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    """A point in OpenCV's fixed-point pixels."""
    return round(float(point[0]) * 2**_SUBPIXEL), round(float(point[1]) * 2**_SUBPIXEL)


def draw_background(rng: np.random.Generator, side: int) -> npt.NDArray[np.uint8]:
    """Four octaves of colour noise under lines, ellipses and rectangles: `(side, side, 3)` RGB."""
    canvas = np.full((side, side, 3), rng.uniform(95.0, 150.0), np.float32)
    for octave in range(4):
        cells = max(1, round(side / _COARSEST)) * 2**octave
        noise = rng.standard_normal((cells, cells, 3), dtype=np.float32) * np.float32(
            24.0 / 1.3**octave
        )
        canvas += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    background = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(round(_CLUTTER * side**2)):
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


def target_size(rng: np.random.Generator) -> float:
    """Diameter of a target in pixels."""
    return float(rng.uniform(20.0, 24.0))


def target_color(rng: np.random.Generator) -> tuple[int, int, int]:
    """A yellow: what shows even in a glance which disc counts."""
    return random_color(rng, (22, 31), (210, 255), (215, 255))


def distractor_color(rng: np.random.Generator) -> tuple[int, int, int]:
    """Green to violet, far from yellow."""
    return random_color(rng, (60, 164), (90, 255), (110, 255))


def ink_color(rng: np.random.Generator) -> tuple[int, int, int]:
    """The dark grey of a shape's strokes."""
    grey = int(rng.integers(10, 40))
    return grey, grey, grey


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
