"""The built-in videos: a yellow disc with a digit drifts among look-alikes. Made from a seed.

The class is the digit on the *target*, the one disc whose colour is yellow. Colour shows where it
is even at 28x28 pixels; which digit it carries needs full resolution. So a glance tells where, a
patch tells what, and looking in the right place pays. Nothing is downloaded and no font is used:
digits are seven line segments, because fonts differ between OpenCV versions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import Clip, dataset_identity, to_clip_tensor
from adafocus_env.data.frame_sampling import fixed_sampling
from adafocus_env.data.shift_sampling import sampling_rules
from adafocus_env.seeding import Purpose, episode_rng

FRAME_SIZE = 112
VIDEO_FRAMES = 16
FRAMES_PER_SECOND = 8
CLASS_NAMES = tuple(f"digit {digit}" for digit in range(10))

# Split -> (seed, videos). Part of the environment's behaviour: a change makes a new "-vN".
SPLITS: dict[str, tuple[int, int]] = {"train": (1001, 800), "val": (1002, 250), "test": (2001, 500)}

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
_DIGITS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcfgd")
_NO_DIGITS = tuple(
    pattern
    for pattern in (
        "".join(s for i, s in enumerate("abcdefg") if bits >> i & 1) for bits in range(128)
    )
    if 2 <= len(pattern) <= 5 and frozenset(pattern) not in {frozenset(d) for d in _DIGITS}
)


@dataclass
class _Shape:
    """One moving shape: what it looks like, and where it is in each frame."""

    kind: str
    size: float
    color: tuple[int, int, int]
    ink: tuple[int, int, int]
    segments: str
    centers: npt.NDArray[np.float64]  # (frames, 2) as (x, y)
    tilts: npt.NDArray[np.float64]  # (frames,) radians


def render_video(
    split_seed: int, index: int
) -> tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.float32]]:
    """Draw video `index` of the split with this seed.

    Returns:
        frames `(16, 112, 112, 3)` uint8 RGB; the label, `index % 10`; the target's centre in every
        frame `(16, 2)` as (row, col) pixels.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    target_size = rng.uniform(20.0, 24.0)
    target = _moving_shape(
        rng, "disc", target_size, _hsv(rng, (22, 31), (210, 255), (215, 255)), _DIGITS[label]
    )
    distractors = [_distractor(rng, target_size) for _ in range(rng.integers(3, 6))]
    background = _background(rng)
    pan = rng.uniform(-1.0, 1.0, size=2)
    brightness = rng.normal(0.0, 3.0, size=VIDEO_FRAMES)

    frames = np.empty((VIDEO_FRAMES, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    for t in range(VIDEO_FRAMES):
        middle = (np.array(background.shape[:2]) - 1) / 2 + pan * (t - VIDEO_FRAMES / 2)
        size = (FRAME_SIZE, FRAME_SIZE)
        frame = cv2.getRectSubPix(background, size, (middle[1], middle[0])).astype(np.uint8)
        for shape in (*distractors, target):  # the target last: nothing hides it
            _draw(frame, shape, t)
        noise = rng.standard_normal(frame.shape, dtype=np.float32) * 8.0 + brightness[t]
        frames[t] = np.clip(frame + noise, 0, 255).astype(np.uint8)
    return frames, label, target.centers[:, ::-1].astype(np.float32)


class GlyphVideos:
    """The built-in videos of one split, rendered in memory when asked for, without a codec.

    Args:
        split: `"train"` (800 videos), `"val"` (250) or `"test"` (500).
        num_frames: T, frames of a clip out of the video's 16.
        num_glance_frames: frames of a clip for the glancer alone, None for none.
        frame_sampling: key of the rules that `shift_sampling.sampling_rules` gives.
    """

    def __init__(
        self,
        split: str = "val",
        *,
        num_frames: int = 8,
        num_glance_frames: int | None = None,
        frame_sampling: str = "center",
    ):
        if split not in SPLITS:
            raise ValueError(
                f"the built-in videos have the splits {', '.join(SPLITS)}, not {split!r}"
            )
        self._seed, count = SPLITS[split]
        self._sampling = frame_sampling
        rules = sampling_rules(num_glance_frames)
        self._sample_frames = rules[frame_sampling]
        self._sample_targets = rules[fixed_sampling(frame_sampling)]
        self.class_names = CLASS_NAMES
        self.labels = np.arange(count, dtype=np.int64) % len(CLASS_NAMES)
        self.label_sets: tuple[tuple[int, ...], ...] = tuple((int(label),) for label in self.labels)
        self.num_frames = num_frames
        self.num_glance_frames = num_glance_frames
        self.frame_size = FRAME_SIZE

    def __len__(self) -> int:
        """The number of videos of the split."""
        return len(self.labels)

    def clip(self, index: int, episode_seed: int) -> Clip:
        """Render video `index` and keep the frames that the episode seed chooses."""
        frames, label, _ = render_video(self._seed, index)
        rng = episode_rng(episode_seed, Purpose.FRAMES)
        chosen = self._sample_frames(VIDEO_FRAMES, self.num_frames, rng)
        seen = None
        if self.num_glance_frames is not None:
            seen = to_clip_tensor(
                frames[self._sample_frames(VIDEO_FRAMES, self.num_glance_frames, rng)]
            )
        return Clip(to_clip_tensor(frames[chosen]), label, seen)

    def target_centers(self, index: int) -> npt.NDArray[np.float32]:
        """`(T, 2)` (row, col) of the target in the frames that evaluation chooses."""
        _, _, centers = render_video(self._seed, index)
        rng = np.random.default_rng(0)  # fixed rules draw nothing from it
        return centers[self._sample_targets(VIDEO_FRAMES, self.num_frames, rng)]

    def video_name(self, index: int) -> str:
        """Its number."""
        return f"built-in video {index} of split seed {self._seed}"

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`; what is rendered depends on the split's seed alone."""
        videos = [(self._seed, index, int(label)) for index, label in enumerate(self.labels)]
        glances = (
            {} if self.num_glance_frames is None else {"num_glance_frames": self.num_glance_frames}
        )
        return {
            "preprocessing": {
                "media": "rendered",
                "num_frames": self.num_frames,
                "frame_size": self.frame_size,
                "sampling": self._sampling,
                **glances,
            },
            "dataset": dataset_identity(videos, self.class_names),
        }


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


def write_mp4(
    path: Path, frames: Iterable[npt.NDArray[np.uint8]], frames_per_second: float
) -> None:
    """Write RGB uint8 frames `(H, W, 3)` as an mp4v `.mp4`, through OpenCV alone.

    Raises:
        OSError: OpenCV cannot write the file.
    """
    writer: cv2.VideoWriter | None = None
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    for frame in frames:
        if writer is None:
            height, width = frame.shape[:2]
            writer = cv2.VideoWriter(str(path), fourcc, frames_per_second, (width, height))
            if not writer.isOpened():
                raise OSError(f"OpenCV cannot write {path}: is the folder there and writable?")
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if writer is None:
        raise ValueError(f"no frames to write to {path}")
    writer.release()


def _distractor(rng: np.random.Generator, target_size: float) -> _Shape:
    kind = ("disc", "square", "triangle")[rng.integers(3)]
    patterns = _DIGITS if rng.random() < 0.5 else _NO_DIGITS
    color = _hsv(rng, (60, 164), (90, 255), (110, 255))
    size = target_size * rng.uniform(0.8, 1.0)
    return _moving_shape(rng, kind, size, color, patterns[rng.integers(len(patterns))])


def _moving_shape(
    rng: np.random.Generator, kind: str, size: float, color: tuple[int, int, int], segments: str
) -> _Shape:
    ink = int(rng.integers(10, 40))
    limit = math.radians(15.0)
    drift = np.radians(rng.uniform(-1.5, 1.5, size=VIDEO_FRAMES))
    tilts = np.clip(rng.uniform(-limit, limit) + np.cumsum(drift), -limit, limit)
    return _Shape(kind, size, color, (ink, ink, ink), segments, _path(rng, size / 2), tilts)


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


def _draw(frame: npt.NDArray[np.uint8], shape: _Shape, t: int) -> None:
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
    color = _hsv(rng, (0, 180), (10, 130), (20, 240))
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


def _hsv(
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
