"""Backbone: what glancer and focuser need to know of a convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """A classification network and what one needs to know to use its features.

    Attributes:
        net: the network, its classification head included.
        feature_map: `feature_map(net, frames)` gives the last map `(N, C, h, w)` of frames
            `(N, 3, H, W)`, head left out.
        num_channels: C.
        feature_bound: largest value of the map if the last activation has one, else None. The
            smallest is 0 after a rectifier, in which ours end; a glancer cuts off what is below.
    """

    net: nn.Module
    feature_map: Callable[[nn.Module, Tensor], Tensor]
    num_channels: int
    feature_bound: float | None
