"""What memory there still is, and refusing what would not fit."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

# A container's limit, by which it is killed; psutil sees the machine around it.
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Memory that can still be taken: of a GPU, or of this machine within its container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    machine, container = int(psutil.virtual_memory().available), _container_bytes()
    return machine if container is None else min(machine, container)


def check_room(what: str, num_bytes: int, device: torch.device, cure: str) -> None:
    """Refuse what would end in the kernel killing the process.

    Args:
        what: takes the memory.
        num_bytes: that it takes.
        device: where.
        cure: what to change, for the message.

    Raises:
        ValueError: there is not enough room.
    """
    available = available_bytes(device)
    if num_bytes > available:
        raise ValueError(
            f"{what} does not fit into memory: {_gigabytes(num_bytes)} are needed and "
            f"{_gigabytes(available)} are free; {cure}"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.3g} GB"


def _container_bytes() -> int | None:
    """What a container may still take (cgroup v2); None without a limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        stat = dict(
            line.split() for line in (_CGROUP / "memory.stat").read_text("ascii").splitlines()
        )
    except OSError:
        return None
    return max(0, int(limit) - used + int(stat.get("inactive_file", 0)))
