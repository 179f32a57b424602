"""`glyphs_order`: two digits on one disc, and the class is which of them comes first. From a seed.

A yellow disc, the *target*, hardly moves. It shows one digit in the first frames and another in the
last ones; between them, after frame 6 to 10 of the sixteen, they change places. The five pairs of
digits (0 and 1, 2 and 3, ..., 8 and 9) in both orders are the ten classes. So every single frame is
equally likely in a class and in its reverse: without temporal shift, networks whose logits are
averaged over frames can name the pair, which leaves them right in half of the videos. With shift
they see the change.

Discs and polygons of other colours do the same with other digits, or with marks that are none. As
in `glyphs`, colour shows at 28x28 pixels where the target is and only a patch shows what is on it;
one patch location serves all frames of a clip, so the target drifts less than a patch leaves room
for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from adafocus_env.data.glyphs.drawing import (
    DIGITS,
    FRAME_SIZE,
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

# Class k is pair k // 2, in ascending order if k is even.
CLASS_NAMES = tuple(
    f"digit {first} then {second}"
    for low in range(0, 10, 2)
    for first, second in ((low, low + 1), (low + 1, low))
)

# Split -> (seed, videos). Part of the environment's behaviour: a change makes a new "-vN".
SPLITS: dict[str, tuple[int, int]] = {
    "train": (5001, 1600),
    "val": (5002, 250),
    "test": (6001, 500),
}

_CHANGE = (6, 11)  # the first frame of the second digit, from .. to before
_SPEED = (0.05, 0.25)  # pixels a frame; 0.25 x 15 is a tenth of a patch
_SEPARATION = 22.0  # pixels between centres, so that shapes hardly hide each other


@dataclass(frozen=True)
class Marked:
    """A shape and the two marks that it shows one after the other."""

    shape: Shape
    first: str
    second: str

    def at(self, t: int, change: int) -> Shape:
        """What is drawn in frame t."""
        return replace(self.shape, segments=self.first if t < change else self.second)


def order_digits(label: int) -> tuple[int, int]:
    """The digits of a class in the order in which they are shown."""
    low = label // 2 * 2
    return (low, low + 1) if label % 2 == 0 else (low + 1, low)


def draw_order_scene(rng: np.random.Generator, label: int) -> tuple[list[Marked], int]:
    """Three to five distractors, then the target, which nothing hides; and when marks change.

    Returns:
        shapes; the first frame of the second marks.
    """
    first, second = order_digits(label)
    change = int(rng.integers(*_CHANGE))
    size = target_size(rng)
    paths = _paths(rng, int(rng.integers(4, 7)))
    yellow = target_color(rng)
    target = Marked(_shape(rng, "disc", size, yellow, paths[0]), DIGITS[first], DIGITS[second])
    others = [_distractor(rng, size, path) for path in paths[1:]]
    return [*others, target], change


def render_order_video(split_seed: int, index: int) -> Rendered:
    """Draw video `index` of the split with this seed; see the module.

    Returns:
        frames `(16, 112, 112, 3)` uint8 RGB; the label, `index % 10`; the target's centre in every
        frame `(16, 2)` as (row, col) pixels.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    marked, change = draw_order_scene(rng, label)
    shapes = [[item.at(t, change) for item in marked] for t in range(VIDEO_FRAMES)]
    centers = marked[-1].shape.centers
    return draw_video(rng, shapes), label, centers[:, ::-1].astype(np.float32)


def _distractor(rng: np.random.Generator, largest: float, path: npt.NDArray[np.float64]) -> Marked:
    """Another colour; half of them show the digits of some class, the others no digits."""
    kind = ("disc", "square", "triangle")[rng.integers(3)]
    color = distractor_color(rng)
    shape = _shape(rng, kind, largest * rng.uniform(0.8, 1.0), color, path)
    if rng.random() < 0.5:
        first, second = (DIGITS[digit] for digit in order_digits(int(rng.integers(10))))
    else:
        first, second = (NO_DIGITS[i] for i in rng.integers(len(NO_DIGITS), size=2))
    return Marked(shape, first, second)


def _shape(
    rng: np.random.Generator,
    kind: str,
    size: float,
    color: tuple[int, int, int],
    path: npt.NDArray[np.float64],
) -> Shape:
    ink = ink_color(rng)
    tilts = np.full(VIDEO_FRAMES, rng.uniform(-LARGEST_TILT, LARGEST_TILT))
    return Shape(kind, size, color, ink, "", path, tilts)


def _paths(rng: np.random.Generator, count: int) -> list[npt.NDArray[np.float64]]:
    """`(16, 2)` centres of each shape as (x, y): slow straight lines, apart from each other.

    The first is uniform over the frame; others keep away from it and from each other.
    """
    margin = 12.0  # radius of the largest shape
    paths: list[npt.NDArray[np.float64]] = []
    while len(paths) < count:
        middle = rng.uniform(margin + 2.0, FRAME_SIZE - margin - 2.0, size=2)
        heading, speed = rng.uniform(0.0, 2 * math.pi), rng.uniform(*_SPEED)
        along = np.arange(VIDEO_FRAMES)[:, None] - (VIDEO_FRAMES - 1) / 2
        path = middle + speed * along * np.array([math.cos(heading), math.sin(heading)])
        if all(np.linalg.norm(path - other, axis=1).min() >= _SEPARATION for other in paths):
            paths.append(path)
    return paths


GLYPHS_ORDER = GlyphTask("rendered glyphs_order", SPLITS, render_order_video, CLASS_NAMES)
