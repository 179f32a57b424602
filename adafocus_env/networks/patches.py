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
    span = torch.arange(patch_size, device=frames.device)
    offsets = offsets.to(frames.device)
    rows = (offsets[:, 0, None] + span)[:, :, None]
    columns = (offsets[:, 1, None] + span)[:, None, :]
    if index is None:
        index = torch.arange(len(frames), device=frames.device)
    # Advanced indices on either side of the channel axis put it last.
    return frames[index[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
