"""Observations of both families of ids: glances alone, or a dict of what was seen beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from gymnasium import spaces
from torch import Tensor

# `(..., C, h, w)` or `(..., C)` glances; or by name, with the glances under "glance".
Observations: TypeAlias = Tensor | dict[str, Tensor]
GLANCE = "glance"


def each(observations: Observations, change: Callable[[Tensor], Tensor]) -> Observations:
    """The same change of every part."""
    if isinstance(observations, dict):
        return {name: change(part) for name, part in observations.items()}
    return change(observations)


def together(parts: list[Observations], join: Callable[[list[Tensor]], Tensor]) -> Observations:
    """Observations joined part by part, such as by `torch.cat`."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: join([part[name] for part in parts]) for name in first}  # type: ignore[index]
    return join(parts)  # type: ignore[arg-type]


def repeated(frames: Tensor, times: int) -> Tensor:
    """What was made of frames `(N, T, ...)`, for each of so many looks at them in a row."""
    return frames if times == 1 else frames.repeat_interleave(times, dim=1)


def count(observations: Observations) -> int:
    """How many there are, along the first axis."""
    return len(glance_of(observations))


def zeros(space: spaces.Space[Any], rows: int) -> Observations:
    """Dark observations of a space, `(N, ...)`."""
    if isinstance(space, spaces.Dict):
        return {name: torch.zeros(rows, *(part.shape or ())) for name, part in space.items()}
    return torch.zeros(rows, *(space.shape or ()))


def glance_of(observations: Observations) -> Tensor:
    """The glances."""
    return observations[GLANCE] if isinstance(observations, dict) else observations


def glance_space(space: spaces.Space[Any]) -> spaces.Box:
    """Of the glances in an observation space.

    Raises:
        ValueError: there are none, or what is beside them are no vectors.
    """
    glance = space.spaces.get(GLANCE) if isinstance(space, spaces.Dict) else space
    if not isinstance(glance, spaces.Box) or len(glance.shape) not in (1, 3):
        raise ValueError(
            f"expected glance maps or vectors, a Box, or a Dict with 'glance', got {space}; in a "
            "closed loop let observation= name 'glance'"
        )
    for name, part in beside_glance(space).items():
        if not isinstance(part, spaces.Box) or len(part.shape) != 1:
            raise ValueError(
                f"this policy reads vectors beside the glance, and {name!r} is {part}; leave "
                "patch_pixels=False"
            )
    return glance


def beside_glance(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    """What is observed beside the glances, by name; nothing in the open loop."""
    if not isinstance(space, spaces.Dict):
        return {}
    return {name: part for name, part in space.spaces.items() if name != GLANCE}


def beside_size(space: spaces.Space[Any]) -> int:
    """How many numbers that are."""
    return sum(math.prod(part.shape or ()) for part in beside_glance(space).values())


def seen_beside(observations: Observations) -> Tensor | None:
    """`(..., S)` all that is observed beside the glances, side by side; None where nothing is."""
    if not isinstance(observations, dict):
        return None
    parts = [part for name, part in sorted(observations.items()) if name != GLANCE]
    return torch.cat(parts, dim=-1) if parts else None
