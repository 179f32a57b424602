"""From an action to a patch: a position of a grid, any place of the frame, or no patch at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.error import InvalidAction
from torch import Tensor


@dataclass(frozen=True)
class PatchChoice:
    """Where patches lie, and in which frames there is one at all.

    Attributes:
        offsets: `(..., 2)` int64 (top, left) corners in pixels, on the CPU; (0, 0) in skipped
            frames.
        focused: `(...)` bool, on the CPU; False where the frame is skipped.
    """

    offsets: Tensor
    focused: Tensor

    @classmethod
    def at(cls, offsets: Tensor, focused: Tensor | None = None) -> PatchChoice:
        """The choices at these offsets; in all frames, or in those that are focused on."""
        if focused is None:
            return cls(offsets, torch.ones(offsets.shape[:-1], dtype=torch.bool))
        return cls(offsets * focused[..., None], focused)

    def boxes(self, patch_size: int) -> Tensor:
        """`(..., 4)` int64 (top, left, height, width) in pixels; zeros in skipped frames."""
        sides = torch.full_like(self.offsets, patch_size) * self.focused[..., None]
        return torch.cat([self.offsets, sides], dim=-1)


class Locations(Protocol):
    """How the actions of an environment name looks at a frame."""

    @property
    def action_space(self) -> spaces.Space[Any]:
        """Of one row."""
        ...

    @property
    def can_skip(self) -> bool:
        """Whether an action looks nowhere."""
        ...

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Actions of this shape as a tensor.

        Raises:
            gymnasium.error.InvalidAction: wrong shape, type or range.
        """
        ...

    def choice(self, actions: Tensor) -> PatchChoice:
        """The patches of checked actions."""
        ...

    def origins(self, actions: Tensor) -> Tensor:
        """(row, column) fractions `(..., 2)` of the free range, on the actions' device."""
        ...


class PatchGrid:
    """G x G positions that span the frame, corners included; action a is row a // G, column a % G.

    Offsets are computed in integers, `j * (side - P) // (G - 1)`; they equal the published float32
    rule at every published size.

    Args:
        grid_size: G, 4 to 10.
        frame_size: side of the frame in pixels.
        patch_size: side P of the patch in pixels.

    Attributes:
        grid_size, frame_size, patch_size: as given.
        num_actions: G * G.
        action_space: `Discrete(G * G)`.
        center_action: the position nearest the middle; the upper left of the four when G is even.
    """

    def __init__(self, grid_size: int, frame_size: int, patch_size: int):
        if not 4 <= grid_size <= 10:
            raise ValueError(f"grid_size must be 4 to 10, not {grid_size}")
        self.grid_size = grid_size
        self.frame_size = frame_size
        self.patch_size = patch_size
        self.can_skip = False
        self.num_actions = grid_size**2
        self.action_space = spaces.Discrete(self.num_actions)
        middle = (grid_size - 1) // 2
        self.center_action = middle * grid_size + middle
        self._line = torch.arange(grid_size) * (frame_size - patch_size) // (grid_size - 1)

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Integer actions in `0..G*G - 1` of exactly this shape."""
        positions = f"the positions of a {self.grid_size}x{self.grid_size} grid"
        return _checked_integers(actions, leading_shape, self.num_actions, positions)

    def choice(self, actions: Tensor) -> PatchChoice:
        """A patch at every position."""
        return PatchChoice.at(self.offsets(actions))

    def offsets(self, actions: Tensor) -> Tensor:
        """(top, left) pixel offsets `(..., 2)` of actions of any shape, int64, on the CPU."""
        actions = actions.cpu()
        return torch.stack(
            [self._line[actions // self.grid_size], self._line[actions % self.grid_size]], dim=-1
        )

    def origins(self, actions: Tensor) -> Tensor:
        """(row, column) fractions `(..., 2)` of the free range, 0 to 1, of actions of any shape."""
        cells = torch.stack([actions // self.grid_size, actions % self.grid_size], dim=-1)
        return cells / (self.grid_size - 1)

    def all_offsets(self) -> Tensor:
        """`(G*G, 2)` offsets of every position, in the order of the actions."""
        return self.offsets(torch.arange(self.num_actions))


class GridOrSkip:
    """The positions of a grid, and one action more, the last, that skips the frame (AdaFocus+).

    Args:
        grid: the positions.

    Attributes:
        skip_action: G * G.
        action_space: `Discrete(G * G + 1)`.
    """

    def __init__(self, grid: PatchGrid):
        self.can_skip = True
        self._meaning = "which skips"
        self.skip_action = grid.num_actions
        self.action_space = spaces.Discrete(grid.num_actions + 1)
        self._grid = grid

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Integer actions in `0..G*G` of exactly this shape."""
        side = self._grid.grid_size
        meaning = f"the positions of a {side}x{side} grid and {self.skip_action}, {self._meaning}"
        return _checked_integers(actions, leading_shape, self.skip_action + 1, meaning)

    def choice(self, actions: Tensor) -> PatchChoice:
        """A patch at every position, none where the frame is skipped."""
        actions = actions.cpu()
        focused = actions != self.skip_action
        return PatchChoice.at(self._grid.offsets(actions * focused), focused)

    def origins(self, actions: Tensor) -> Tensor:
        """(row, column) fractions `(..., 2)` of the free range; NaN where the frame is skipped."""
        skipped = actions == self.skip_action
        return self._grid.origins(actions * ~skipped).masked_fill(skipped[..., None], torch.nan)


class GridOrStop(GridOrSkip):
    """The positions of a grid, and one action more, the last, that ends the episode.

    Args:
        grid: the positions.
    """

    def __init__(self, grid: PatchGrid):
        super().__init__(grid)
        self.can_skip = False
        self._meaning = "which ends the episode"

    def stops(self, actions: Tensor) -> Tensor:
        """`(...)` bool, which actions end the episode, on the CPU."""
        return actions.cpu() == self.skip_action


class ContinuousLocations:
    """Any place: an action is the patch's (row, column) origin as fractions of the free range.

    Args:
        frame_size: side of the frame in pixels.
        patch_size: side P of the patch in pixels.
        action_space: another range `(2,)` that stands for the fractions 0 to 1, such as the
            symmetric one that many algorithms want; beyond it is at its end. None: the fractions.

    Attributes:
        action_space: `Box(0, 1, (2,), float32)`, or the one given; its end is the last position
            that fits.
    """

    def __init__(self, frame_size: int, patch_size: int, action_space: spaces.Box | None = None):
        self.action_space = action_space or spaces.Box(0.0, 1.0, (2,), np.float32)
        self.can_skip = False
        self._free = frame_size - patch_size
        self._low, self._high = map(
            torch.from_numpy, (self.action_space.low, self.action_space.high)
        )

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Float actions in the range, of shape `leading_shape + (2,)`."""
        given = np.asarray(actions)
        expected = (*leading_shape, 2)
        if given.shape != expected or given.dtype.kind not in "fiu":
            raise InvalidAction(
                f"expected (row, col) actions of shape {expected}, "
                f"got {given.dtype} of shape {given.shape}"
            )
        given = given.astype(np.float32)
        low, high = self.action_space.low, self.action_space.high
        if not ((given >= low) & (given <= high)).all():  # NaN compares false
            raise InvalidAction(
                f"(row, col) actions must lie in [{low[0]:g}, {high[0]:g}], got {given.tolist()}"
            )
        return torch.from_numpy(given)

    def choice(self, actions: Tensor) -> PatchChoice:
        """A patch at every place."""
        return PatchChoice.at(self.offsets(actions))

    def offsets(self, actions: Tensor) -> Tensor:
        """(top, left) pixel offsets `(..., 2)`, `floor(fraction * (side - P))` in float32."""
        return (self.origins(actions.cpu()) * self._free).floor().long()

    def origins(self, actions: Tensor) -> Tensor:
        """(row, column) fractions `(..., 2)` of the free range."""
        low, high = self._low.to(actions.device), self._high.to(actions.device)
        return ((actions - low) / (high - low)).clamp(0.0, 1.0)


def make_locations(name: str, grid: PatchGrid) -> Locations:
    """The actions of an environment.

    Args:
        name: `"grid"`, `"continuous"` for any place, or `"skip"` for the grid and an action that
            skips the frame.
        grid: its positions, and the frames and patches that they are for.

    Raises:
        ValueError: another name.
    """
    if name == "grid":
        return grid
    if name == "continuous":
        return ContinuousLocations(grid.frame_size, grid.patch_size)
    if name == "skip":
        return GridOrSkip(grid)
    raise ValueError(f"locations is 'grid', 'continuous' or 'skip', not {name!r}")


def locations_of(action_space: spaces.Space[Any], grid: PatchGrid) -> Locations:
    """What the actions of a policy mean, whatever the environment's own actions are.

    Args:
        action_space: of the policy: the positions of the grid, perhaps with one action more, which
            skips the frame; or a `Box` of two numbers whose range spans the places of a patch.
        grid: the positions, and the frames and patches that they are for.

    Raises:
        ValueError: another space, such as that of another grid.
    """
    for locations in (grid, GridOrSkip(grid)):
        if action_space == locations.action_space:
            return locations
    if isinstance(action_space, spaces.Box) and action_space.shape == (2,):
        return ContinuousLocations(grid.frame_size, grid.patch_size, action_space)
    side = grid.grid_size
    raise ValueError(
        f"{action_space} are no actions of a {side}x{side} grid (Discrete({grid.num_actions}), or "
        f"Discrete({grid.num_actions + 1}) with one that skips) and no places, Box(0, 1, (2,)); "
        "use the grid_size (action_dim=) that the policy was trained with"
    )


def every_action(action_space: spaces.Space[Any]) -> npt.NDArray[np.bool_]:
    """`(A,)` True: all actions of a `Discrete(A)` are possible at every frame.

    Raises:
        TypeError: places are no numbered actions.
    """
    if not isinstance(action_space, spaces.Discrete):
        raise TypeError(
            f"action_masks is for numbered actions, and these are {action_space}; use "
            "locations='grid' or 'skip'"
        )
    return np.ones(int(action_space.n), dtype=np.bool_)


def _checked_integers(actions: object, shape: tuple[int, ...], count: int, meaning: str) -> Tensor:
    """Integer actions in `0..count - 1` of exactly this shape.

    Raises:
        gymnasium.error.InvalidAction: wrong shape, type or range; `meaning` says what they are.
    """
    given = np.asarray(actions)
    if given.shape != shape or not np.issubdtype(given.dtype, np.integer):
        raise InvalidAction(
            f"expected integer actions of shape {shape}, got {given.dtype} of shape {given.shape}"
        )
    if given.size and not (given.min() >= 0 and given.max() < count):
        wrong = int(given[(given < 0) | (given >= count)].flat[0])
        raise InvalidAction(f"action {wrong} is not in 0..{count - 1}, {meaning}")
    return torch.from_numpy(given.astype(np.int64))
