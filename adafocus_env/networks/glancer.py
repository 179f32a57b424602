"""Glancer: the light network that sees every whole frame."""

from __future__ import annotations

from torch import Tensor, nn

from adafocus_env.networks.backbones import build_backbone
from adafocus_env.networks.temporal_shift import add_temporal_shift


class Glancer(nn.Module):
    """Whole frames to a spatial map and its mean.

    Args:
        backbone: its name, see `build_backbone`.
        num_classes: K, for the head that stage 0 trains.
        activation_cap: clamp the map to `[0, cap]`; needed where the backbone has no bound of its
            own, because observations have declared finite bounds.
        shift_frames: frames of a clip that temporal shift connects; None sees each by itself.

    Attributes:
        map_bound: largest possible value of the map; the smallest is 0.

    Raises:
        ValueError: the backbone is unbounded and no cap is given.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        activation_cap: float | None = None,
        shift_frames: int | None = None,
    ):
        super().__init__()
        built = build_backbone(backbone, num_classes)
        bound = built.feature_bound if activation_cap is None else activation_cap
        if bound is None:
            raise ValueError(
                f"backbone {backbone!r} gives unbounded features, and observations need bounds: "
                "set activation_cap, for example to 6"
            )
        self.backbone = backbone
        self.net = built.net
        if shift_frames is not None:
            add_temporal_shift(self.net, shift_frames)
        self.num_channels = built.num_channels
        self.map_bound = bound
        self.feature_map = built.feature_map

    def glance(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features of normalised frames.

        Args:
            frames: `(N, 3, H, W)`.

        Returns:
            glance map `(N, C, h, w)` within `[0, map_bound]`, glance vector `(N, C)`.
        """
        glance_map = self.feature_map(self.net, frames).clamp(0.0, self.map_bound)
        return glance_map, glance_map.mean(dim=(2, 3))

    def pooled(self, frames: Tensor) -> Tensor:
        """What the head sees of normalised frames `(N, 3, H, W)`: `(N, C)`."""
        return self.glance(frames)[1]

    def class_head(self) -> nn.Linear:
        """The head of stage 0: class logits of a glance vector. It is the last layer everywhere."""
        return [layer for layer in self.net.modules() if isinstance(layer, nn.Linear)][-1]

    def forward(self, frames: Tensor) -> Tensor:
        """Class logits `(N, K)` of single frames: the head of stage 0."""
        logits: Tensor = self.net(frames)
        return logits


def freeze(module: nn.Module) -> None:
    """Make a module a constant: no gradients, BatchNorm and Dropout in evaluation mode."""
    module.requires_grad_(False)
    module.eval()
