"""From an action to a place: grid positions and continuous locations as pixel offsets."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import InvalidAction
from torch import Tensor


class Locations(Protocol):
    """How the actions of an environment name places in a frame."""

    @property
    def action_space(self) -> spaces.Space[Any]:
        """Of one row."""
        ...

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Actions of this shape as a tensor.

        Raises:
            gymnasium.error.InvalidAction: wrong shape, type or range.
        """
        ...

    def offsets(self, actions: Tensor) -> Tensor:
        """(top, left) pixel offsets `(..., 2)`, int64, of checked actions."""
        ...


class PatchGrid:
    """G x G positions that span the frame, corners included; action a is row a // G, column a % G.

    Offsets are computed in integers, `j * (side - P) // (G - 1)`; they equal the published float32
    rule at every published size (REFERENCE section 2).

    Args:
        grid_size: G, 4 to 10.
        frame_size: side of the frame in pixels.
        patch_size: side P of the patch in pixels.

    Attributes:
        num_actions: G * G.
        action_space: `Discrete(G * G)`.
        center_action: the position nearest the middle; the upper left of the four when G is even.
    """

    def __init__(self, grid_size: int, frame_size: int, patch_size: int):
        if not 4 <= grid_size <= 10:
            raise ValueError(f"grid_size must be 4 to 10, not {grid_size}")
        self.grid_size = grid_size
        self.num_actions = grid_size**2
        self.action_space = spaces.Discrete(self.num_actions)
        middle = (grid_size - 1) // 2
        self.center_action = middle * grid_size + middle
        self._line = torch.arange(grid_size) * (frame_size - patch_size) // (grid_size - 1)

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Integer actions in `0..G*G - 1` of exactly this shape."""
        given = np.asarray(actions)
        if given.shape != leading_shape or not np.issubdtype(given.dtype, np.integer):
            raise InvalidAction(
                f"expected integer actions of shape {leading_shape}, "
                f"got {given.dtype} of shape {given.shape}"
            )
        if given.size and not (given.min() >= 0 and given.max() < self.num_actions):
            wrong = int(given[(given < 0) | (given >= self.num_actions)].flat[0])
            raise InvalidAction(
                f"action {wrong} is not in 0..{self.num_actions - 1}, "
                f"the positions of a {self.grid_size}x{self.grid_size} grid"
            )
        return torch.from_numpy(given.astype(np.int64))

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


class ContinuousLocations:
    """Any place: an action is the patch's (row, column) origin as fractions of the free range.

    Args:
        frame_size: side of the frame in pixels.
        patch_size: side P of the patch in pixels.

    Attributes:
        action_space: `Box(0, 1, (2,), float32)`; 1 is the last position that fits.
    """

    def __init__(self, frame_size: int, patch_size: int):
        self.action_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self._free = frame_size - patch_size

    def check(self, actions: object, leading_shape: tuple[int, ...]) -> Tensor:
        """Float actions in [0, 1] of shape `leading_shape + (2,)`."""
        given = np.asarray(actions)
        expected = (*leading_shape, 2)
        if given.shape != expected or given.dtype.kind not in "fiu":
            raise InvalidAction(
                f"expected (row, col) actions of shape {expected}, "
                f"got {given.dtype} of shape {given.shape}"
            )
        given = given.astype(np.float32)
        if not ((given >= 0.0) & (given <= 1.0)).all():  # NaN compares false
            raise InvalidAction(f"(row, col) actions must lie in [0, 1], got {given.tolist()}")
        return torch.from_numpy(given)

    def offsets(self, actions: Tensor) -> Tensor:
        """(top, left) pixel offsets `(..., 2)`, `floor(action * (side - P))` in float32."""
        return (actions.cpu() * self._free).floor().long()

    def origins(self, actions: Tensor) -> Tensor:
        """(row, column) fractions `(..., 2)` of the free range: the actions."""
        return actions
