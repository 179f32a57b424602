"""One score a position, by one small network that all positions share.

Free logits, one row of weights for each position, learn *places*; a score that every position gets
from what the glance shows there learns *what to look at*, from every position at once. Few videos
are enough then, and a policy does not end in staring at one place.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from adafocus_env.envs import PatchGrid
from adafocus_env.envs.actions import locations_of
from adafocus_env.networks.focuser import patch_overlaps

_NUMBERS = ("grid_size", "frame_size", "patch_size")


def patch_grid_numbers(grid: PatchGrid) -> dict[str, int]:
    """What a policy is told of the grid that its actions name: the arguments of `PatchGrid`."""
    return {name: int(getattr(grid, name)) for name in _NUMBERS}


def with_patch_grid(
    policy: type[BasePolicy], policy_kwargs: Mapping[str, Any], grid: PatchGrid
) -> dict[str, Any]:
    """A policy's arguments, with the grid where the policy scores positions and is not told one."""
    parameters = {name for cls in policy.__mro__ for name in inspect.signature(cls).parameters}
    chosen = "head" not in parameters or policy_kwargs.get("head") == "spatial"
    if not chosen or "patch_grid" not in parameters or policy_kwargs.get("patch_grid") is not None:
        return dict(policy_kwargs)
    return {**policy_kwargs, "patch_grid": patch_grid_numbers(grid)}


def patch_coverage(grid: PatchGrid, map_size: tuple[int, ...]) -> Tensor:
    """How much of each position's patch lies in each cell of a glance map.

    A glance shows the whole frame, so cell (i, j) of an h x w map stands for the i-th of h equal
    bands of its rows and the j-th of w of its columns.

    Args:
        grid: the positions.
        map_size: (h, w).

    Returns:
        `(A, h * w)`, fractions of the patch's area; each row sums to 1.
    """
    size = grid.patch_size
    overlaps = patch_overlaps(
        grid.all_offsets(), patch_size=size, frame_size=grid.frame_size, map_size=map_size
    )
    rows, columns = (pixels / size for pixels in overlaps)
    return (rows[:, :, None] * columns[:, None, :]).flatten(1).float()


class FrameScore(nn.Module):
    """One number a frame, from its mean over space and what is remembered: one hidden layer.

    Args:
        channels: C of the map.
        state_dim: S of what is remembered; 0 is nothing.
        hidden_dim: of the hidden layer.
    """

    def __init__(self, channels: int, state_dim: int, hidden_dim: int):
        super().__init__()
        self.frame = nn.Linear(channels, hidden_dim)
        self.state = nn.Linear(state_dim, hidden_dim, bias=False) if state_dim else None
        self.score = nn.Linear(hidden_dim, 1)

    def forward(self, frame_mean: Tensor, state: Tensor | None) -> Tensor:
        """`(..., C)` and `(..., S)` to `(...)`."""
        hidden = self.frame(frame_mean)
        if self.state is not None:
            hidden = hidden + self.state(state)
        scores: Tensor = self.score(hidden.relu())[..., 0]
        return scores


class SpatialScorer(nn.Module):
    """Logits of the positions of a grid, and of skipping where an action does.

    Of position p: `score(relu(mean of cells(map) under its patch + frame(mean of the frame) +
    state(memory))) + bias[p] + places[p](memory)`. The convolution of the cells stands before the
    average: with one of 1x1 that is the same as after it. One of 3x3 also sees how a thing lies in
    the patch, and where the frame ends. Only `places` can say that something was seen *there*; what
    is merely added to a layer that all positions share cannot.

    Args:
        map_shape: `(C, h, w)` of what is seen.
        action_space: `Discrete`: the positions of a grid, perhaps with one action more, the last,
            that skips the frame: it is scored by the frame alone.
        patch_grid: the grid: the arguments of `PatchGrid`.
        state_dim: S of what is remembered; 0 is nothing.
        hidden_dim: of the hidden layer.
        remembers_places: whether there are `places`: free logits, but of the memory alone.
        kernel: cells a side that are seen around each cell; 1 is the cell alone.
        dropout: of the hidden layer.
        batch_norm: normalise before it.

    Raises:
        ValueError: there is nothing to score, or the grid is not said.
    """

    coverage: Tensor

    def __init__(
        self,
        map_shape: tuple[int, ...],
        action_space: spaces.Space[Any],
        patch_grid: Mapping[str, int] | None,
        state_dim: int,
        hidden_dim: int,
        kernel: int = 1,
        *,
        remembers_places: bool = False,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ):
        if kernel % 2 == 0:
            raise ValueError(f"head_kernel is odd, so that cells have a middle, not {kernel}")
        super().__init__()
        # On the CPU also where the policy is only counted, on the meta device.
        with torch.device("cpu"):
            grid, can_skip = _scored(map_shape, action_space, patch_grid)
            coverage = patch_coverage(grid, map_shape[-2:])
        self.grid = grid
        # Then each patch is a cell, and there is nothing to average.
        self.cells_are_positions = torch.equal(coverage, torch.eye(*coverage.shape, device="cpu"))
        # Not saved: the arguments say it.
        self.register_buffer("coverage", coverage.to(torch.get_default_device()), persistent=False)
        channels = map_shape[0]
        self.cells = nn.Conv2d(channels, hidden_dim, kernel, padding=kernel // 2, bias=False)
        self.frame = nn.Linear(channels, hidden_dim)
        self.state = nn.Linear(state_dim, hidden_dim, bias=False) if state_dim else None
        self.norm = nn.BatchNorm1d(hidden_dim) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(hidden_dim, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(grid.num_actions))
        remembers_places &= state_dim > 0
        self.places = (
            nn.Linear(state_dim, grid.num_actions, bias=False) if remembers_places else None
        )
        self.skip = FrameScore(channels, state_dim, hidden_dim) if can_skip else None

    def init_orthogonal(self) -> None:
        """Orthogonal weights, with which all actions are nearly as probable at first."""
        outputs = [self.score]
        outputs += [] if self.skip is None else [self.skip.score]
        outputs += [] if self.places is None else [self.places]
        for modules, gain in (([self], 2**0.5), (outputs, 0.01)):
            for module in modules:
                module.apply(partial(BasePolicy.init_weights, gain=gain))

    def forward(self, maps: Tensor, frame_mean: Tensor, state: Tensor | None) -> Tensor:
        """Maps, what else each step sees, and what is remembered, to logits `(..., A)`.

        Args:
            maps: `(..., C, h, w)`. Each may stand for as many steps in a row as make up the number
                of the others: several looks at a frame.
            frame_mean: `(..., C)`, their mean over space, for each step.
            state: `(..., S)`.
        """
        cells = self.cells(maps.flatten(0, -4)).flatten(-2)
        context = self.context(frame_mean, state)
        shared = context.flatten(0, -2).unflatten(0, (len(cells), -1))[..., None]
        hidden = (torch.matmul(cells, self.coverage.T)[:, None] + shared).flatten(0, 1)
        hidden = self.dropout(self.norm(hidden).relu())
        each = torch.matmul(self.score.weight, hidden)[:, 0] + self.bias
        return self.all_scores(each.unflatten(0, context.shape[:-1]), frame_mean, state)

    def context(self, frame_mean: Tensor, state: Tensor | None) -> Tensor:
        """`(..., hidden_dim)`, what all positions share in the hidden layer."""
        context: Tensor = self.frame(frame_mean)
        return context if self.state is None else context + self.state(state)

    def all_scores(self, scores: Tensor, frame_mean: Tensor, state: Tensor | None) -> Tensor:
        """The logits, of `(..., A)` scores by what is seen: with `places`, and with skipping."""
        if self.places is not None:
            scores = scores + self.places(state)
        if self.skip is None:
            return scores
        return torch.cat([scores, self.skip(frame_mean, state)[..., None]], dim=-1)


def _scored(
    map_shape: tuple[int, ...],
    action_space: spaces.Space[Any],
    patch_grid: Mapping[str, int] | None,
) -> tuple[PatchGrid, bool]:
    """The grid whose positions are scored, and whether an action skips the frame."""
    if not isinstance(action_space, spaces.Discrete):
        raise ValueError(
            "head='spatial' scores the positions of a grid; with locations=continuous use "
            "head='flat'"
        )
    if len(map_shape) != 3:
        raise ValueError("head='spatial' reads glance maps; use observation=map or head='flat'")
    if patch_grid is None:
        raise ValueError(
            "head='spatial' must be told where the patches of its actions lie: patch_grid="
            "{'grid_size': 7, 'frame_size': 224, 'patch_size': 96}; GruPPO asks its environment"
        )
    if sorted(patch_grid) != sorted(_NUMBERS):
        raise ValueError(f"patch_grid has {', '.join(_NUMBERS)}, not {', '.join(patch_grid)}")
    grid = PatchGrid(**patch_grid)
    return grid, locations_of(action_space, grid).can_skip
