"""Focuser: the heavy network that sees one patch of each frame."""

from __future__ import annotations

from torch import Tensor, nn

from adafocus_env.networks.backbones import build_backbone
from adafocus_env.networks.temporal_shift import add_temporal_shift


class Focuser(nn.Module):
    """Patches to pooled features.

    Args:
        backbone: name in `BACKBONES`.
        num_classes: K, for the head that stage 0 trains.
        shift_frames: patches of a clip that temporal shift connects; None sees each by itself.
    """

    def __init__(self, backbone: str, num_classes: int, *, shift_frames: int | None = None):
        super().__init__()
        built = build_backbone(backbone, num_classes)
        self.net = built.net
        if shift_frames is not None:
            add_temporal_shift(self.net, shift_frames)
        self.num_features = built.num_channels
        self.feature_map = built.feature_map

    @property
    def head(self) -> nn.Module:
        """The classification head, which only `forward` uses."""
        head: nn.Module = self.net.get_submodule("fc")
        return head

    def class_head(self) -> nn.Module:
        """The same, under the name that the glancer's has."""
        return self.head

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
