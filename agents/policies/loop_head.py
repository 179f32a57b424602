"""The spatial head of closed loops: what the last patch showed says where to look next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adafocus_env.envs import PatchGrid
from agents.policies.spatial_head import SpatialScorer


class LastLook(nn.Module):
    """What the last patch says of each position: an arrow in it can say "there".

    Of position p: `E[p - last] * (1 + product(patch))`, and nothing before the first look. The
    product is what counts: a sum of where p lies and of what was seen says nothing of both.

    Args:
        num_features: F of the patch; 0 where it is not observed.
        grid: the positions.
        hidden_dim: of the layer that it is added to.
    """

    table: Tensor

    def __init__(self, num_features: int, grid: PatchGrid, hidden_dim: int):
        super().__init__()
        self._side = side = grid.grid_size
        self.offsets = nn.Embedding((2 * side - 1) ** 2, hidden_dim)
        nn.init.normal_(self.offsets.weight, std=hidden_dim**-0.5)
        self.product = nn.Linear(num_features, hidden_dim) if num_features else None
        with torch.device("cpu"):
            line = torch.arange(side)
            apart = line[None] - line[:, None] + side - 1  # (last, position)
            rows, columns = apart[:, None, :, None], apart[None, :, None, :]
            table = (rows * (2 * side - 1) + columns).reshape(side**2, side**2)
        self.register_buffer("table", table.to(torch.get_default_device()), persistent=False)

    def factors(self, origin: Tensor, patch: Tensor | None) -> tuple[Tensor, Tensor]:
        """The two whose product is what is said, `(M, A, hidden_dim)` and `(M, 1, hidden_dim)`.

        Args:
            origin: `(M, 3)`, where the last patch was.
            patch: `(M, F)`, its features.
        """
        cells = (origin[:, :2] * (self._side - 1)).round().long().clamp(0, self._side - 1)
        last = cells[:, 0] * self._side + cells[:, 1]
        # First all that can be asked for, then a row of it each: its gradient is then a sum of
        # whole rows, several times as fast as one of single entries.
        from_each = F.embedding(self.table, self.offsets.weight).flatten(1)
        said = F.embedding(last, from_each).unflatten(1, (self._side**2, -1))
        there_was = origin[:, 2:, None]
        if self.product is None:
            return said, there_was.expand(-1, 1, said.shape[2])
        return said, (1.0 + self.product(patch))[:, None] * there_was


class LoopScorer(SpatialScorer):
    """`SpatialScorer` of a closed loop: `LastLook` is added, and there is one more layer.

    The hidden layer lies position by position, `(M, A, hidden_dim)`, so that each layer is one
    product of matrices over all positions of all steps.

    Args:
        map_shape: as of `SpatialScorer`, like all but
        patch_features: F of the patch, 0 where it is not observed.
    """

    def __init__(
        self,
        map_shape: tuple[int, ...],
        action_space: Any,
        patch_grid: Any,
        state_dim: int,
        hidden_dim: int,
        kernel: int = 1,
        *,
        patch_features: int,
        **others: Any,
    ):
        super().__init__(
            *(map_shape, action_space, patch_grid, state_dim, hidden_dim, kernel), **others
        )
        self.last_look = LastLook(patch_features, self.grid, hidden_dim)
        self.deeper = nn.Linear(hidden_dim, hidden_dim)

    def forward(
        self,
        maps: Tensor,
        frame_mean: Tensor,
        state: Tensor | None,
        origin: Tensor | None = None,
        patch: Tensor | None = None,
    ) -> Tensor:
        """As of `SpatialScorer`; also `(..., 3)` where the last patch was, and its features."""
        assert origin is not None
        frames = self._at_positions(maps.flatten(0, -4))[:, None]
        context = self.context(frame_mean, state)
        before = None if patch is None else patch.flatten(0, -2)
        parts = (*self.last_look.factors(origin.flatten(0, -2), before), context.flatten(0, -2))
        said, times, shared = (part.unflatten(0, (len(frames), -1)) for part in parts)
        hidden = torch.addcmul(frames, said, times)
        hidden = hidden.add_(shared[:, :, None]).flatten(0, 2)
        hidden = self.dropout(self.norm(hidden).relu_())
        hidden = self.deeper(hidden).relu_()
        scores = self.score(hidden).view(*context.shape[:-1], -1) + self.bias
        return self.all_scores(scores, frame_mean, state)

    def _at_positions(self, maps: Tensor) -> Tensor:
        """`(M, C, h, w)` to `(M, A, hidden_dim)`: the cells under each position's patch."""
        if self.cells.kernel_size == (1, 1):
            pixels = maps.flatten(2).transpose(1, 2)
            cells = F.linear(pixels, self.cells.weight[:, :, 0, 0])
        else:
            cells = self.cells(maps).flatten(2).transpose(1, 2)
        return cells if self.cells_are_positions else torch.matmul(self.coverage, cells)
