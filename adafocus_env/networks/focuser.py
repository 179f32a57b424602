"""Focuser: the heavy network that sees one patch of each frame."""

from __future__ import annotations

from torch import Tensor, nn

from adafocus_env.networks.backbones import build_backbone


class Focuser(nn.Module):
    """Patches to pooled features.

    Args:
        backbone: name in `BACKBONES`.
        num_classes: K, for the head that stage 0 trains.
    """

    def __init__(self, backbone: str, num_classes: int):
        super().__init__()
        built = build_backbone(backbone, num_classes)
        self.net = built.net
        self.num_features = built.num_channels
        self.feature_map = built.feature_map

    @property
    def head(self) -> nn.Module:
        """The classification head, which only `forward` uses."""
        head: nn.Module = self.net.get_submodule("fc")
        return head

    def focus(self, patches: Tensor) -> Tensor:
        """Pooled features `(N, F)` of normalised patches `(N, 3, P, P)`."""
        return self.feature_map(self.net, patches).mean(dim=(2, 3))

    def forward(self, frames: Tensor) -> Tensor:
        """Class logits `(N, K)` of single frames: the head of stage 0."""
        logits: Tensor = self.net(frames)
        return logits
