"""ProcessGroup: one training run over several processes, each with its own videos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train one policy together.

    With `count` 1 every method returns what it was given. With more, torch's process group must be
    initialised, and every process must call the same methods in the same order.

    Attributes:
        rank: 0-based number of this process.
        count: how many processes there are.
    """

    rank: int = 0
    count: int = 1

    def own(self, everywhere: Tensor) -> Tensor:
        """This process's share of `(count * N, ...)`: `(N, ...)`."""
        return everywhere.chunk(self.count)[self.rank]

    def gather(self, values: Tensor) -> Tensor:
        """`(N, ...)` of every process, in the order of ranks: `(count * N, ...)`."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def mean(self, value: float) -> float:
        """The mean of a number over all processes."""
        if self.count == 1:
            return value
        everywhere: list[float | None] = [None] * self.count
        dist.all_gather_object(everywhere, value)
        return sum(item for item in everywhere if item is not None) / self.count

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(mean.view_as(gradient))


ONE_PROCESS = ProcessGroup()
