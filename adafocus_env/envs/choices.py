"""What is looked at: by checked actions, or at offsets that no action stands for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adafocus_env.envs.actions import Locations, PatchChoice


def chosen(
    locations: Locations,
    actions: Tensor | None,
    offsets: Any,
    focused: Any,
    shape: tuple[int, ...],
    free: int,
) -> PatchChoice:
    """Patches of checked actions, or of offsets; the arguments are those of `checked_choice`.

    Raises:
        ValueError: neither or both are given, or the offsets are none.
    """
    if (actions is None) == (offsets is None) or (offsets is None and focused is not None):
        raise ValueError("give either actions or offsets, and focused with offsets only")
    return (
        checked_choice(offsets, focused, shape, free)
        if actions is None
        else locations.choice(actions)
    )


def checked_choice(offsets: Any, focused: Any, shape: tuple[int, ...], free: int) -> PatchChoice:
    """Choices that do not come from actions.

    Args:
        offsets: `(*shape, 2)` integer (top, left) corners in pixels.
        focused: `shape` bool; None skips no frame.
        shape: of the looks.
        free: the largest offset, `side - P`.

    Raises:
        ValueError: another shape or type, or patches that reach out of the frame.
    """
    offsets = torch.as_tensor(offsets).cpu()
    if offsets.shape != (*shape, 2) or offsets.is_floating_point():
        raise ValueError(
            f"offsets must be integer (top, left) pixels of shape {(*shape, 2)}, "
            f"got {offsets.dtype} of shape {tuple(offsets.shape)}"
        )
    if bool(((offsets < 0) | (offsets > free)).any()):
        raise ValueError(f"(top, left) offsets must lie in 0..{free} pixels")
    if focused is not None:
        focused = torch.as_tensor(focused).cpu()
        if focused.shape != shape or focused.dtype != torch.bool:
            raise ValueError(
                f"focused must be bool of shape {shape}, got {focused.dtype} of shape "
                f"{tuple(focused.shape)}"
            )
    return PatchChoice.at(offsets.long(), focused)
