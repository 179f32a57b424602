"""Cutting patches out of frames."""

from __future__ import annotations

import torch
from torch import Tensor


def crop_patches(frames: Tensor, offsets: Tensor, patch_size: int) -> Tensor:
    """Cut one square patch from each frame, all in one gather.

    Args:
        frames: `(N, C, H, W)`, H and W at least `patch_size`.
        offsets: `(N, 2)` integer (top, left) corners in pixels, within `side - patch_size`; the
            caller has checked them, because a check here would wait for the GPU.
        patch_size: side P of the patch in pixels.

    Returns:
        `(N, C, P, P)`.
    """
    span = torch.arange(patch_size, device=frames.device)
    offsets = offsets.to(frames.device)
    rows = (offsets[:, 0, None] + span)[:, :, None]
    columns = (offsets[:, 1, None] + span)[:, None, :]
    batch = torch.arange(len(frames), device=frames.device)[:, None, None]
    # Advanced indices on either side of the channel axis put it last.
    return frames[batch, :, rows, columns].permute(0, 3, 1, 2)
