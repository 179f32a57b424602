"""StoredFeatures: features of a bank where they lie, gathered for the episodes that need them."""

from __future__ import annotations

import torch
from torch import Tensor

# Entries side by side, as the frames of a clip are, are copied together from this many on.
_NEIGHBOURS = 4


class StoredFeatures:
    """Arrays in float16 in one or more parts, gathered into float32.

    Args:
        parts: by name, along the first axis `(clips, ...)`; all but the last equally long.
        device: where gathered features go.
    """

    def __init__(self, parts: dict[str, list[Tensor]], device: torch.device):
        self._device = device
        self._parts = parts
        self._clips = next(iter(parts.values()))[0].shape[0]

    def take(self, name: str, clips: Tensor, *inner: Tensor) -> Tensor:
        """Features of some places.

        Args:
            name: of the array.
            clips: `(M,)` integers on the CPU.
            inner: `(M,)` integers on the CPU, one tensor for each further axis to index.

        Returns:
            `(M, ...)` float32, a copy.
        """
        parts, axes = self._parts[name], len(inner)
        index, stride = clips, self._clips
        for axis, places in enumerate(inner, start=1):
            size = parts[0].shape[axis]
            index, stride = index * size + places, stride * size
        if parts[0].device.type != "cpu":
            return _gather(parts[0], axes, index).to(self._device).float()
        part_of = index // stride
        apart = (index.diff() != 1) | (part_of.diff() != 0)
        if (int(apart.sum()) + 1) * _NEIGHBOURS <= len(index):
            begins = [0, *(apart.nonzero()[:, 0] + 1).tolist()]
            return self._copy_neighbours(parts, axes, index, stride, begins)
        if len(parts) == 1:
            return _gather(parts[0], axes, index).to(self._device).float()
        runs = torch.unique_consecutive(part_of)
        if len(runs) <= 2 * len(parts):
            return self._gather_runs(parts, axes, index, stride)
        # Many short runs, as of many episodes in a small bank: bring those of a part together.
        order = part_of.argsort(stable=True)
        found = self._gather_runs(parts, axes, index[order], stride)
        return found.index_select(0, order.argsort().to(found.device))

    def _copy_neighbours(
        self, parts: list[Tensor], axes: int, index: Tensor, stride: int, begins: list[int]
    ) -> Tensor:
        """One copy for each run of neighbours, which begin at `begins`."""
        found = self._room(parts[0], axes, len(index))
        ends = [*begins[1:], len(index)]
        for begin, end, first in zip(begins, ends, index[begins].tolist(), strict=True):
            part, place = divmod(first, stride)
            found[begin:end] = parts[part].flatten(0, axes)[place : place + end - begin]
        return found.to(self._device).float()

    def _gather_runs(self, parts: list[Tensor], axes: int, index: Tensor, stride: int) -> Tensor:
        """One gather for each run of indices into the same part; `stride` indices a part."""
        found = self._room(parts[0], axes, len(index))
        runs, lengths = torch.unique_consecutive(index // stride, return_counts=True)
        begin = 0
        for part, length in zip(runs.tolist(), lengths.tolist(), strict=True):
            run = slice(begin, begin + length)
            found[run] = _gather(parts[part], axes, index[run] - part * stride)
            begin += length
        return found.to(self._device).float()

    def _room(self, part: Tensor, axes: int, count: int) -> Tensor:
        on_cpu = self._device.type == "cpu"  # then copying is also what converts
        dtype = torch.float32 if on_cpu else torch.float16
        return torch.empty((count, *part.shape[1 + axes :]), dtype=dtype)


def _gather(part: Tensor, axes: int, index: Tensor) -> Tensor:
    """Entries of an array whose first `1 + axes` axes are indexed as one."""
    return part.flatten(0, axes).index_select(0, index.to(part.device))


def joined(parts: list[Tensor], device: torch.device) -> Tensor:
    """One tensor on a device, which never holds more than it and one part."""
    total = sum(len(part) for part in parts)
    whole = torch.empty((total, *parts[0].shape[1:]), dtype=parts[0].dtype, device=device)
    begin = 0
    for part in parts:
        whole[begin : begin + len(part)] = part.to(device)
        begin += len(part)
    return whole
