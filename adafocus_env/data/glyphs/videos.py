"""The built-in videos: a yellow disc with a digit drifts among look-alikes. Made from a seed.

The class is the digit on the *target*, the one disc whose colour is yellow. Colour shows where it
is even at 28x28 pixels; which digit it carries needs full resolution. So a glance tells where, a
patch tells what, and looking in the right place pays. Nothing is downloaded and no font is used:
digits are seven line segments, because fonts differ between OpenCV versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import Clip, dataset_identity, to_clip_tensor
from adafocus_env.data.glyphs.drawing import (
    CLASS_NAMES,
    DIGITS,
    FRAME_SIZE,
    FRAMES_PER_SECOND,
    NO_DIGITS,
    VIDEO_FRAMES,
    Shape,
    draw_video,
    random_color,
)
from adafocus_env.data.sampling.segments import fixed_sampling
from adafocus_env.data.sampling.shift import sampling_rules
from adafocus_env.seeding import Purpose, episode_rng

# Split -> (seed, videos). Part of the environment's behaviour: a change makes a new "-vN".
SPLITS: dict[str, tuple[int, int]] = {"train": (1001, 800), "val": (1002, 250), "test": (2001, 500)}

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


def render_video(split_seed: int, index: int) -> Rendered:
    """Draw video `index` of the split with this seed.

    Returns:
        frames `(16, 112, 112, 3)` uint8 RGB; the label, `index % 10`; the target's centre in every
        frame `(16, 2)` as (row, col) pixels.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    target_size = rng.uniform(20.0, 24.0)
    target = _moving_shape(
        rng, "disc", target_size, random_color(rng, (22, 31), (210, 255), (215, 255)), DIGITS[label]
    )
    distractors = [_distractor(rng, target_size) for _ in range(rng.integers(3, 6))]
    shapes = (*distractors, target)  # the target last: nothing hides it
    frames = draw_video(rng, [shapes] * VIDEO_FRAMES)
    return frames, label, target.centers[:, ::-1].astype(np.float32)


GLYPHS = GlyphTask("rendered", SPLITS, render_video)


class GlyphVideos:
    """The built-in videos of one split, rendered in memory when asked for, without a codec.

    Args:
        split: `"train"` (800 videos), `"val"` (250) or `"test"` (500).
        num_frames: T, frames of a clip out of the video's 16.
        num_glance_frames: frames of a clip for the glancer alone, None for none.
        frame_sampling: key of the rules that `shift_sampling.sampling_rules` gives.
        task: which built-in task; the sizes of the splits are those of `"glyphs"`.
        keep: keep what has been rendered in memory, 0.6 MB a video.
    """

    def __init__(
        self,
        split: str = "val",
        *,
        num_frames: int = 8,
        num_glance_frames: int | None = None,
        frame_sampling: str = "center",
        task: GlyphTask = GLYPHS,
        keep: bool = False,
    ):
        if split not in task.splits:
            raise ValueError(
                f"the built-in videos have the splits {', '.join(task.splits)}, not {split!r}"
            )
        self._task = task
        self._kept: dict[int, Rendered] | None = {} if keep else None
        self._seed, count = task.splits[split]
        self._sampling = frame_sampling
        rules = sampling_rules(num_glance_frames)
        self._sample_frames = rules[frame_sampling]
        self._sample_targets = rules[fixed_sampling(frame_sampling)]
        self.class_names = task.class_names
        self.labels = np.arange(count, dtype=np.int64) % len(self.class_names)
        self.label_sets: tuple[tuple[int, ...], ...] = tuple((int(label),) for label in self.labels)
        self.num_frames = num_frames
        self.num_glance_frames = num_glance_frames
        self.frame_size = FRAME_SIZE

    def __len__(self) -> int:
        """The number of videos of the split."""
        return len(self.labels)

    def clip(self, index: int, episode_seed: int) -> Clip:
        """Render video `index` and keep the frames that the episode seed chooses."""
        frames, label, _ = self._render(index)
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
        _, _, centers = self._render(index)
        rng = np.random.default_rng(0)  # fixed rules draw nothing from it
        return centers[self._sample_targets(VIDEO_FRAMES, self.num_frames, rng)]

    def _render(self, index: int) -> Rendered:
        if self._kept is None:
            return self._task.render(self._seed, index)
        if index not in self._kept:
            self._kept[index] = self._task.render(self._seed, index)
        return self._kept[index]

    def video_name(self, index: int) -> str:
        """Its number."""
        return f"built-in video {index} of split seed {self._seed}"

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`; the task and the split's seed decide what is rendered."""
        videos = [(self._seed, index, int(label)) for index, label in enumerate(self.labels)]
        glances = (
            {} if self.num_glance_frames is None else {"num_glance_frames": self.num_glance_frames}
        )
        return {
            "preprocessing": {
                "media": self._task.media,
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


def _distractor(rng: np.random.Generator, target_size: float) -> Shape:
    kind = ("disc", "square", "triangle")[rng.integers(3)]
    patterns = DIGITS if rng.random() < 0.5 else NO_DIGITS
    color = random_color(rng, (60, 164), (90, 255), (110, 255))
    size = target_size * rng.uniform(0.8, 1.0)
    return _moving_shape(rng, kind, size, color, patterns[rng.integers(len(patterns))])


def _moving_shape(
    rng: np.random.Generator, kind: str, size: float, color: tuple[int, int, int], segments: str
) -> Shape:
    ink = int(rng.integers(10, 40))
    limit = math.radians(15.0)
    drift = np.radians(rng.uniform(-1.5, 1.5, size=VIDEO_FRAMES))
    tilts = np.clip(rng.uniform(-limit, limit) + np.cumsum(drift), -limit, limit)
    return Shape(kind, size, color, (ink, ink, ink), segments, _path(rng, size / 2), tilts)


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
