"""`glyphs_memory`: which disc counts is shown first, what it says afterwards. Made from a seed.

Four equal discs drift smoothly and never come near each other. In the first six of the sixteen
frames (the *cue*) one of them, the target, is yellow, and all are blank. In the other ten (the
*answer*) all have the same grey and each carries another digit; the class is the target's. So no
single frame says where to look: the answer frames are the same, to the bit, whichever disc is the
target, and without memory nothing is better than a guess, right once in four times. With memory
one follows the disc, or extrapolates its path.

How it moves is chosen so that following is possible from a coarse glance: 1.5 to 3.5 pixels a
frame on a slightly bent line without bounces, at least 30 pixels between the centres of two discs,
so that no patch shows two whole digits.

The recognizer is not trained on these videos, where a random patch sees a wrong digit three times
as often as the right one, but on `glyphs_memory_flicker`: the same scenes, except that the *other*
discs' marks are drawn anew in every frame and are mostly no digits. The digit that stays is the
class, so the recognizer learns to count what it has read: a second look at the same disc makes it
sure, and it changes its mind when it reads something else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from adafocus_env.data.glyphs.drawing import (
    CLASS_NAMES,
    DIGITS,
    FRAME_SIZE,
    LARGEST_TILT,
    NO_DIGITS,
    VIDEO_FRAMES,
    GlyphTask,
    Rendered,
    Shape,
    draw_video,
    ink_color,
    target_color,
    target_size,
)

NUM_DISCS = 4
CUE_FRAMES = 6  # of the 16; with 8 decisions the first three see the cue

# Split -> (seed, videos). Part of the environment's behaviour: a change makes a new "-vN".
SPLITS: dict[str, tuple[int, int]] = {
    "train": (3001, 1600),
    "val": (3002, 250),
    "test": (4001, 500),
}
# The recognizer's own videos: it must not know those on which policies are trained.
FLICKER_SPLITS: dict[str, tuple[int, int]] = {
    "train": (3501, 1600),
    "val": (3502, 250),
    "test": (4501, 500),
}

_SPEED = (1.5, 3.5)  # pixels a frame
_BEND = 0.03  # radians a frame
_SEPARATION = 30.0  # pixels between centres: no patch of 32 shows two whole digits
_CANDIDATES = 64  # paths drawn at once; few of them fit
_FLICKERING_DIGITS = 0.3  # share of the flickering marks that are digits
_MARGIN = 12.0  # radius of the largest disc


@dataclass(frozen=True)
class Scene:
    """What there is to see, before it is drawn.

    Attributes:
        discs: the four, grey, each with its own digit.
        target: which of them counts.
        cue_color: RGB of the target where it is shown.
    """

    discs: tuple[Shape, ...]
    target: int
    cue_color: tuple[int, int, int]

    def cue(self) -> list[Shape]:
        """Blank discs, the target coloured."""
        blank = [replace(disc, segments="") for disc in self.discs]
        blank[self.target] = replace(blank[self.target], color=self.cue_color)
        return blank

    def answer(self) -> list[Shape]:
        """All discs grey, with digits: the same whichever is the target."""
        return list(self.discs)

    def flicker(self, rng: np.random.Generator) -> list[Shape]:
        """As `answer`, but with a new mark on each disc that is not the target."""
        discs = []
        for number, disc in enumerate(self.discs):
            patterns = DIGITS if rng.random() < _FLICKERING_DIGITS else NO_DIGITS
            mark = patterns[rng.integers(len(patterns))]
            discs.append(disc if number == self.target else replace(disc, segments=mark))
        return discs


def draw_scene(rng: np.random.Generator, label: int) -> Scene:
    """Four discs whose digits differ; `label` is on the target, which is any of them."""
    others = rng.permutation([digit for digit in range(len(CLASS_NAMES)) if digit != label])
    target = int(rng.integers(NUM_DISCS))
    digits = [int(digit) for digit in others[:NUM_DISCS]]
    digits[target] = label
    size = target_size(rng)
    grey = int(rng.integers(190, 236))
    ink = ink_color(rng)
    cue_color = target_color(rng)
    discs = tuple(
        Shape(
            "disc",
            size,
            (grey, grey, grey),
            ink,
            DIGITS[digit],
            path,
            np.full(VIDEO_FRAMES, rng.uniform(-LARGEST_TILT, LARGEST_TILT)),
        )
        for digit, path in zip(digits, _paths(rng), strict=True)
    )
    return Scene(discs, target, cue_color)


def render_memory_video(split_seed: int, index: int, *, flicker: bool = False) -> Rendered:
    """Draw video `index` of the split with this seed; see the module.

    Args:
        split_seed: of the split.
        index: the label is `index % 10`.
        flicker: for the recognizer: the other discs' marks change from frame to frame.

    Returns:
        frames `(16, 112, 112, 3)` uint8 RGB; the label; the target's centre in every frame
        `(16, 2)` as (row, col) pixels.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    scene = draw_scene(rng, label)
    answers = VIDEO_FRAMES - CUE_FRAMES
    shapes = [scene.cue()] * CUE_FRAMES
    shapes += [scene.flicker(rng) if flicker else scene.answer() for _ in range(answers)]
    centers = scene.discs[scene.target].centers
    return draw_video(rng, shapes), label, centers[:, ::-1].astype(np.float32)


def _paths(rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """`(16, 2)` centres of each disc as (x, y), apart from each other in every frame."""
    while True:
        paths: list[npt.NDArray[np.float64]] = []
        for _ in range(NUM_DISCS):
            candidates = _bent_lines(rng)
            inside = (candidates >= _MARGIN) & (candidates <= FRAME_SIZE - _MARGIN)
            fits = inside.all(axis=(1, 2))
            for other in paths:
                apart = np.linalg.norm(candidates - other, axis=2).min(axis=1)
                fits &= apart >= _SEPARATION
            if not fits.any():
                break
            paths.append(candidates[fits.argmax()])
        if len(paths) == NUM_DISCS:
            return paths


def _bent_lines(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """`(64, 16, 2)`: each at its own constant speed, turning evenly."""
    start = rng.uniform(0.0, FRAME_SIZE, size=(_CANDIDATES, 1, 2))
    speed = rng.uniform(*_SPEED, size=(_CANDIDATES, 1))
    heading = rng.uniform(0.0, 2 * math.pi, size=(_CANDIDATES, 1))
    bend = rng.uniform(-_BEND, _BEND, size=(_CANDIDATES, 1))
    headings = heading + bend * np.arange(VIDEO_FRAMES - 1)
    steps = speed[..., None] * np.stack([np.cos(headings), np.sin(headings)], axis=2)
    lines: npt.NDArray[np.float64] = start + np.concatenate(
        [np.zeros_like(start), steps.cumsum(axis=1)], axis=1
    )
    return lines


GLYPHS_MEMORY = GlyphTask("rendered glyphs_memory", SPLITS, render_memory_video)
GLYPHS_MEMORY_FLICKER = GlyphTask(
    "rendered glyphs_memory_flicker", FLICKER_SPLITS, partial(render_memory_video, flicker=True)
)
