"""`glyphs_search`: follow the arrows. Still pictures, made from a seed.

Twelve grey discs lie in twelve of the 49 cells of a 7x7 grid. One carries the digit that is the
class, each of the others an arrow at the next disc in its direction: on its row, its column or a
diagonal. Every arrow leads on to the digit, in one to four steps from anywhere. So six looks at
single cells are enough for who goes where the last one pointed, whatever disc he begins with; who
decides on six discs beforehand finds the digit in half of the pictures.

A glance of 28x28 pixels, means of blocks of 8x8, shows the discs and not what is on them: marks
are drawn without changing the mean of any block. Nor does it tell from where the discs lie which
of them has the digit: that is uniform among the twelve.

The recognizer learns from other pictures. `glyphs_search_marks` are single cells with each mark in
turn and none, for the focuser; `glyphs_search_discs` single cells with and without a disc, for the
glancer, to which the class says nothing; and in `glyphs_search_digits` half of the discs carry the
class's digit, so that its classifier learns from random looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from adafocus_env.data.glyphs.drawing import (
    BRIGHTNESS,
    CLASS_NAMES,
    DIGITS,
    GlyphTask,
    Rendered,
    draw_background,
    draw_digit,
    draw_disc,
    draw_stroke,
    with_noise,
)
from adafocus_env.data.glyphs.search_layout import (
    DIRECTIONS,
    FIRST_DIGIT,
    GRID,
    NUM_DISCS,
    draw_layout,
)

CELL = 32  # pixels: a patch of this side is a cell
MARK_NAMES = (
    *("up", "up right", "right", "down right", "down", "down left", "left", "up left"),
    *CLASS_NAMES,
)

# Split -> (seed, pictures). Part of the environment's behaviour: a change makes a new "-vN".
SPLITS: dict[str, tuple[int, int]] = {
    "train": (7001, 4000),
    "val": (7002, 400),
    "test": (8001, 600),
}
# The recognizer's own pictures: it must not know those on which policies are trained.
MARKS_SPLITS: dict[str, tuple[int, int]] = {
    "train": (7101, 7600),
    "val": (7102, 380),
    "test": (8101, 380),
}
DISCS_SPLITS: dict[str, tuple[int, int]] = {
    "train": (7201, 4000),
    "val": (7202, 400),
    "test": (8201, 400),
}
DIGITS_SPLITS: dict[str, tuple[int, int]] = {
    "train": (7301, 2000),
    "val": (7302, 400),
    "test": (8301, 400),
}

_RADIUS = (10.5, 12.0)
_ROOM = 1.5  # pixels between a disc and the border of its cell
# With these a disc stays 24 or more within 0..255: noise that is cut off would show in a glance.
_GREY = (145.0, 160.0)
_CONTRAST = 80.0  # of a stroke against its surroundings, before it is evened out
_ARROW = 0.62  # half its length in radii; a digit is as high
_BLOCK = 8  # pixels of the frame, one of the glance
_SPREAD = 3.0  # pixels over which a mark is evened out


def draw_picture(
    rng: np.random.Generator, marks: Mapping[int, int | None], grid: int = GRID
) -> tuple[npt.NDArray[np.uint8], dict[int, npt.NDArray[np.float64]]]:
    """Discs on a background with clutter and noise.

    Args:
        rng: decides all but what the discs carry.
        marks: cell, row * grid + column, -> what its disc carries, an index into `MARK_NAMES`; None
            for nothing.
        grid: cells on a side.

    Returns:
        `(side, side, 3)` uint8 RGB, `CELL` pixels a cell; the discs' centres as (row, col) pixels.
    """
    picture = draw_background(rng, grid * CELL).astype(np.float64)
    grey = rng.uniform(*_GREY)
    centers = {}
    for cell, mark in marks.items():
        corner = np.array(divmod(cell, grid)) * CELL
        middle, cover, relief = _draw_cell(rng, mark)
        window = picture[corner[0] : corner[0] + CELL, corner[1] : corner[1] + CELL]
        window += cover[..., None] * (grey - window) - _CONTRAST * relief[..., None]
        centers[cell] = corner + middle
    return with_noise(rng, picture, rng.normal(0.0, BRIGHTNESS)), centers


def _draw_cell(
    rng: np.random.Generator, mark: int | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One disc, somewhere in its cell.

    Returns:
        its centre (row, col) in pixels of the cell; `(32, 32)` how far it covers each pixel, 0 to
        1; and how far each is darkened by the mark, within -1..1 and 0 on average in every block.
    """
    radius = rng.uniform(*_RADIUS)
    play = CELL / 2 - radius - _ROOM
    center = CELL / 2 - 0.5 + rng.uniform(-play, play, size=2)  # (x, y)
    tilt = math.radians(rng.uniform(-10.0, 10.0))
    cover = np.zeros((CELL, CELL), np.uint8)
    draw_disc(cover, center, radius, 255)
    strokes = np.zeros((CELL, CELL), np.uint8)
    if mark is not None and mark >= FIRST_DIGIT:
        draw_digit(strokes, DIGITS[mark - FIRST_DIGIT], center, 2 * radius, tilt, 255)
    elif mark is not None:
        for start, end in _arrow_strokes(mark, tilt):
            reach = _ARROW * radius
            draw_stroke(strokes, center + reach * start, center + reach * end, 255)
    covered = cover / 255.0
    return center[::-1], covered, _evened_out(strokes / 255.0, covered)


def _arrow_strokes(
    mark: int, tilt: float
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Shaft and head of an arrow of half length 1 around the origin, as pairs of (x, y)."""
    down, right = DIRECTIONS[mark]
    heading = math.atan2(down, right) + tilt
    ahead = np.array([math.cos(heading), math.sin(heading)])
    aside = np.array([-ahead[1], ahead[0]])
    yield -ahead, ahead
    for side in (-1.0, 1.0):
        yield ahead, 0.1 * ahead + 0.8 * side * aside


def _evened_out(
    strokes: npt.NDArray[np.float64], cover: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Strokes less what a coarse look would see of them: their mean around and in each block."""
    around = cv2.GaussianBlur(cover, (0, 0), _SPREAD)
    mean = cv2.GaussianBlur(strokes * cover, (0, 0), _SPREAD) / np.maximum(around, 1e-6)
    relief = (strokes - mean) * cover
    blocks = (CELL // _BLOCK, _BLOCK, CELL // _BLOCK, _BLOCK)
    total = relief.reshape(blocks).sum(axis=(1, 3))
    weight = cover.reshape(blocks).sum(axis=(1, 3))
    share = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    evened: npt.NDArray[np.float64] = relief - cover * np.kron(share, np.ones((_BLOCK, _BLOCK)))
    return evened


def render_search_picture(split_seed: int, index: int) -> Rendered:
    """Draw picture `index` of the split with this seed.

    Returns:
        one frame `(1, 224, 224, 3)` uint8 RGB; the label, `index % 10`; the centre `(1, 2)` of the
        disc with the digit as (row, col) pixels.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    layout = draw_layout(rng)
    picture, centers = draw_picture(rng, layout.marks(label))
    target = centers[int(layout.cells[layout.target])]
    return picture[None], label, target[None].astype(np.float32)


def render_digits_picture(split_seed: int, index: int) -> Rendered:
    """As `render_search_picture`, with the digit on six of the discs, of which one is the centre.

    The arrows on the others point anywhere.
    """
    rng = np.random.default_rng([split_seed, index])
    label = index % len(CLASS_NAMES)
    cells = [int(cell) for cell in rng.permutation(GRID * GRID)[:NUM_DISCS]]
    marks = {cell: int(rng.integers(FIRST_DIGIT)) for cell in cells}
    marks |= dict.fromkeys(cells[: NUM_DISCS // 2], FIRST_DIGIT + label)
    picture, centers = draw_picture(rng, marks)
    return picture[None], label, centers[cells[0]][None].astype(np.float32)


def render_mark(split_seed: int, index: int) -> Rendered:
    """A cell with the disc that carries mark `index % 19`; the last of these is no disc."""
    rng = np.random.default_rng([split_seed, index])
    label = index % (len(MARK_NAMES) + 1)
    return _render_cell(rng, label, None if label == len(MARK_NAMES) else label)


def render_disc(split_seed: int, index: int) -> Rendered:
    """A cell with a disc that carries any mark, where the index is odd, or without a disc."""
    rng = np.random.default_rng([split_seed, index])
    mark = int(rng.integers(len(MARK_NAMES)))
    return _render_cell(rng, index % 2, mark if index % 2 else None)


def _render_cell(rng: np.random.Generator, label: int, mark: int | None) -> Rendered:
    """The middle one of 3x3 cells, `(1, 32, 32, 3)`: backgrounds are coarser than a cell."""
    marks = {} if mark is None else {4: mark}
    picture, centers = draw_picture(rng, marks, grid=3)
    center = centers.get(4, np.full(2, 1.5 * CELL)) - CELL
    return picture[None, CELL:-CELL, CELL:-CELL], label, center[None].astype(np.float32)


GLYPHS_SEARCH = GlyphTask(
    "rendered glyphs_search", SPLITS, render_search_picture, video_frames=1, frame_size=GRID * CELL
)
GLYPHS_SEARCH_DIGITS = GlyphTask(
    "rendered glyphs_search_digits",
    DIGITS_SPLITS,
    render_digits_picture,
    video_frames=1,
    frame_size=GRID * CELL,
)
GLYPHS_SEARCH_MARKS = GlyphTask(
    "rendered glyphs_search_marks",
    MARKS_SPLITS,
    render_mark,
    (*MARK_NAMES, "no disc"),
    video_frames=1,
    frame_size=CELL,
)
GLYPHS_SEARCH_DISCS = GlyphTask(
    "rendered glyphs_search_discs",
    DISCS_SPLITS,
    render_disc,
    ("no disc", "disc"),
    video_frames=1,
    frame_size=CELL,
)
