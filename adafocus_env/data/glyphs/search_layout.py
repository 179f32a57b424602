"""Where the discs of `glyphs_search` lie, and where their arrows lead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

GRID = 7
NUM_DISCS = 12
MAX_STEPS = 4  # along arrows to the digit

# (row, column) steps of the eight arrows, clockwise from up; then come the ten digits.
DIRECTIONS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
FIRST_DIGIT = len(DIRECTIONS)


@dataclass(frozen=True, eq=False)
class SearchLayout:
    """Where the discs of a picture are, and where their arrows lead.

    Attributes:
        cells: `(12,)` of the discs, row * 7 + column, ascending.
        target: the disc with the digit, as an index into `cells`.
        leads_to: `(12,)` the disc at which each one's arrow points, likewise; -1 of the target.
    """

    cells: npt.NDArray[np.int64]
    target: int
    leads_to: npt.NDArray[np.int64]

    @cached_property
    def next_cell(self) -> npt.NDArray[np.int64]:
        """`(49,)` where to look after a look at each cell.

        The target's is itself, as one has arrived; that of a cell without a disc is -1.
        """
        after = np.full(GRID * GRID, -1)
        after[self.cells] = self.cells[self.leads_to]
        after[self.cells[self.target]] = self.cells[self.target]
        return after

    def marks(self, digit: int) -> dict[int, int]:
        """What each cell with a disc carries, an index into `MARK_NAMES`, for `draw_picture`."""
        carried = {}
        for number, cell in enumerate(self.cells):
            if number == self.target:
                carried[int(cell)] = FIRST_DIGIT + digit
            else:
                carried[int(cell)] = direction(cell, self.cells[self.leads_to[number]])
        return carried


def direction(cell: int, other: int) -> int:
    """Which arrow points from a cell at another on its row, column or diagonal."""
    (row, column), (other_row, other_column) = divmod(int(cell), GRID), divmod(int(other), GRID)
    step = (np.sign(other_row - row), np.sign(other_column - column))
    return DIRECTIONS.index((int(step[0]), int(step[1])))


def draw_layout(rng: np.random.Generator) -> SearchLayout:
    """Discs of which every pair is at most four steps apart, and arrows that lead to any of them.

    The target is uniform whatever the cells are. The other discs are attached to it in random
    order, each to a random one that it sees among those attached before.
    """
    while True:
        cells = np.sort(rng.permutation(GRID * GRID)[:NUM_DISCS])
        seen = _visible(cells)
        if _diameter(seen) <= MAX_STEPS:
            break
    target = int(rng.integers(NUM_DISCS))
    while True:
        leads_to = _attach(rng, seen, target)
        if leads_to is not None:
            return SearchLayout(cells, target, leads_to)


def _visible(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """`(12, 12)` which disc is the first one in one of the eight directions of which."""
    number = {divmod(int(cell), GRID): i for i, cell in enumerate(cells)}
    seen = np.zeros((len(cells), len(cells)), bool)
    for (row, column), i in number.items():
        for down, right in DIRECTIONS:
            for steps in range(1, GRID):
                other = number.get((row + steps * down, column + steps * right))
                if other is not None:
                    seen[i, other] = True
                    break
    return seen


def _diameter(seen: npt.NDArray[np.bool_]) -> float:
    """The most steps between two discs; infinite where one cannot be reached."""
    within = np.eye(len(seen), dtype=bool)
    for steps in range(len(seen)):
        if within.all():
            return steps
        within = within @ (seen | np.eye(len(seen), dtype=bool))
    return math.inf


def _attach(
    rng: np.random.Generator, seen: npt.NDArray[np.bool_], target: int
) -> npt.NDArray[np.int64] | None:
    """`SearchLayout.leads_to`; None where a disc sees only such as are four steps away."""
    leads_to = np.full(len(seen), -1)
    depth = np.full(len(seen), MAX_STEPS)  # of those not attached, too: nothing follows on them
    depth[target] = 0
    waiting = [int(disc) for disc in rng.permutation(len(seen)) if disc != target]
    while waiting:
        left = []
        for disc in waiting:
            fitting = np.flatnonzero(seen[disc] & (depth < MAX_STEPS))
            if len(fitting):
                leads_to[disc] = rng.choice(fitting)
                depth[disc] = depth[leads_to[disc]] + 1
            else:
                left.append(disc)
        if len(left) == len(waiting):
            return None
        waiting = left
    return leads_to


def search_layout(split_seed: int, index: int) -> SearchLayout:
    """The layout of picture `index` of the split of `glyphs_search` with this seed."""
    return draw_layout(np.random.default_rng([split_seed, index]))
