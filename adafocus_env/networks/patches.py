"""Cutting patches out of frames."""

from __future__ import annotations

import torch
from torch import Tensor


def crop_patches(
    frames: Tensor, offsets: Tensor, patch_size: int, *, index: Tensor | None = None
) -> Tensor:
    """Cut square patches from frames, all in one gather.

    Args:
        frames: `(N, C, H, W)`, H and W at least `patch_size`.
        offsets: `(M, 2)` integer (top, left) corners in pixels, within `side - patch_size`; the
            caller has checked them, because a check here would wait for the GPU.
        patch_size: side P of the patch in pixels.
        index: `(M,)` integer, the frame of each patch; None cuts one from each, M = N.

    Returns:
        `(M, C, P, P)`.
    """
    if index is None:
        index = torch.arange(len(frames), device=frames.device)
    offsets = offsets.to(frames.device)
    # A view of every patch there is; the gather copies whole lines of the chosen ones.
    windows = frames.unfold(2, patch_size, 1).unfold(3, patch_size, 1)
    return windows[index, :, offsets[:, 0], offsets[:, 1]]
