"""Temporal shift: frames of a clip exchange part of their channels (Lin et al., ICCV 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

SHIFT_DIV = 8  # one channel in eight comes from the next frame, one from the previous


@torch.fx.wrap  # a single operation to the tracer that folds BatchNorm into convolutions
def shift_channels(frames: Tensor, num_frames: int) -> Tensor:
    """Let neighbouring frames exchange channels; zeros stand in beyond a clip's ends.

    Args:
        frames: `(N * num_frames, C, H, W)`, the frames of a clip one after the other.
        num_frames: of each clip; clips do not mix.

    Returns:
        The same shape: the first `C // 8` channels are the next frame's, the second `C // 8` the
        previous frame's, the others stay.
    """
    fold = frames.shape[1] // SHIFT_DIV
    clips = frames.unflatten(0, (-1, num_frames))
    shifted = torch.empty_like(frames)  # keeps the memory format, which concatenating would not
    into = shifted.unflatten(0, (-1, num_frames))
    into[:, :-1, :fold] = clips[:, 1:, :fold]
    into[:, -1, :fold] = 0.0
    into[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    into[:, 0, fold : 2 * fold] = 0.0
    into[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return shifted


class TemporalShift(nn.Module):
    """A convolution that sees some channels of the neighbouring frames.

    Args:
        net: the convolution.
        num_frames: frames of a clip that come one after the other.
    """

    def __init__(self, net: nn.Conv2d, num_frames: int):
        super().__init__()
        self.net = net
        self.num_frames = num_frames

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `(N * num_frames, C, H, W)`, shifted, through the convolution."""
        output: Tensor = self.net(shift_channels(frames, self.num_frames))
        return output


def add_temporal_shift(net: nn.Module, num_frames: int) -> None:
    """Put a shift before the first convolution inside the residual branch of a network's blocks.

    In a ResNet these are all blocks; in MobileNetV2 those that have both a residual and an
    expansion (features 3, 5, 6, 8, 9, 10, 12, 13, 15 and 16 of the full network). The identity
    path is not shifted. The wrapped weights are called `...net.weight` from then on.

    Args:
        net: a torchvision network; changed in place.
        num_frames: frames of a clip.

    Raises:
        ValueError: another kind of network, or it has shifts already.
    """
    if not isinstance(net, (ResNet, MobileNetV2)):
        raise ValueError(f"no place for temporal shift is known in a {type(net).__name__}")
    if any(isinstance(module, TemporalShift) for module in net.modules()):
        raise ValueError(f"this {type(net).__name__} has temporal shift already")
    for block in list(net.modules()):
        if isinstance(block, (BasicBlock, Bottleneck)):
            block.conv1 = TemporalShift(block.conv1, num_frames)
        # A block of three parts has no expansion and begins with its 3x3 convolution.
        if isinstance(block, InvertedResidual) and block.use_res_connect and len(block.conv) == 4:
            block.conv[0][0] = TemporalShift(block.conv[0][0], num_frames)


def set_clip_length(net: nn.Module, num_frames: int) -> None:
    """Change how many frames make a clip for every shift in a network."""
    for module in net.modules():
        if isinstance(module, TemporalShift):
            module.num_frames = num_frames


def unshifted_name(name: str) -> str:
    """What a weight of a network with shifts is called without them, in torchvision's files."""
    own = name.removesuffix(".net.weight")
    return name if own == name else f"{own}.weight"
