"""Focuser: the heavy network that sees one patch of each frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adafocus_env.networks.backbones import build_backbone
from adafocus_env.networks.temporal_shift import add_temporal_shift


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


def patch_overlaps(
    offsets: Tensor, *, patch_size: int, frame_size: int, map_size: tuple[int, ...]
) -> list[Tensor]:
    """How far patches reach over the cells of a map of the whole frame, axis by axis.

    Args:
        offsets: `(A, 2)` (top, left) in pixels.
        patch_size: side of the patches in pixels.
        frame_size: side of the frame in pixels.
        map_size: (h, w) cells, which part the frame evenly.

    Returns:
        `(A, h)` and `(A, w)` pixels, float64.
    """
    overlaps = []
    for axis, cells in enumerate(map_size):
        edges = torch.arange(cells + 1, dtype=torch.float64) * frame_size / cells
        start = offsets[:, axis, None].double()
        covered = (start + patch_size).minimum(edges[1:]) - start.maximum(edges[:-1])
        overlaps.append(covered.clamp(min=0.0))
    return overlaps


class Focuser(nn.Module):
    """Patches to pooled features.

    Args:
        backbone: its name, see `build_backbone`.
        num_classes: K, for the head that stage 0 trains.
        shift_frames: patches of a clip that temporal shift connects; None sees each by itself.
    """

    def __init__(self, backbone: str, num_classes: int, *, shift_frames: int | None = None):
        super().__init__()
        built = build_backbone(backbone, num_classes)
        self.backbone = backbone
        self.net = built.net
        if shift_frames is not None:
            add_temporal_shift(self.net, shift_frames)
        self.num_features = built.num_channels
        self.feature_map = built.feature_map

    def class_head(self) -> nn.Module:
        """The head of stage 0, which only `forward` uses. It is the last layer everywhere."""
        return [layer for layer in self.net.modules() if isinstance(layer, nn.Linear)][-1]

    def pooled(self, frames: Tensor) -> Tensor:
        """What the head sees of normalised frames `(N, 3, H, W)`: `(N, F)`."""
        return self.focus(frames)

    def focus(self, patches: Tensor) -> Tensor:
        """Pooled features `(N, F)` of normalised patches `(N, 3, P, P)`."""
        return self.feature_map(self.net, patches).mean(dim=(2, 3))

    def forward(self, frames: Tensor) -> Tensor:
        """Class logits `(N, K)` of single frames: the head of stage 0."""
        logits: Tensor = self.net(frames)
        return logits
