"""SaliencyAgent: looks where the glancer's own class-activation map is strongest."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.envs import EpisodeCore
from adafocus_env.networks import AnyRecognizer
from adafocus_env.networks.focuser import patch_overlaps
from agents.baselines.shown import Shown
from agents.baselines.simple import BaselineAgent, actions_of_positions
from agents.policies.observations import GLANCE

_NO_GLANCE = (
    "saliency looks at glance maps, and here none are observed; let observation= name 'glance'"
)


class SaliencyAgent(BaselineAgent):
    """The patch under which the class-activation map of the glancer's best guess is strongest.

    Nothing is learned for it and it knows no label: the glancer's classification head, which stage
    0 has trained, guesses a class from the frame's mean features; its weights for that class give
    each cell of the glance map a response (class-activation mapping). A cell stands for its part of
    the frame, and a position's score is the sum of the responses under its patch, cells covered in
    part counted by the covered share. The first of equal positions is taken. Where an observation
    holds the maps of several glances, their mean is taken.

    Args:
        core: whose grid to look at.
        recognizer: whose glance maps the observations are.

    Raises:
        ValueError: observations are pooled vectors, which have no places, or show no glances.
    """

    def __init__(self, core: EpisodeCore, recognizer: AnyRecognizer):
        if len(core.source.observation_shape) != 3:
            raise ValueError("saliency needs glance maps; use observation='map'")
        seen = core.observation_space
        if isinstance(seen, spaces.Dict) and GLANCE not in seen.spaces:
            raise ValueError(_NO_GLANCE)
        self._core = core
        self._channels = recognizer.glancer.num_channels
        self._head = recognizer.glancer.class_head()
        self._coverage = patch_coverage(
            core.grid.all_offsets(),
            patch_size=core.source.patch_size,
            frame_size=core.source.frame_size,
            map_size=core.source.observation_shape[1:],
        ).to(recognizer.device)

    def act(self, shown: Shown) -> npt.NDArray[Any]:
        """Actions for glance maps `(N, C, h, w)`.

        Raises:
            ValueError: they are not observed.
        """
        if shown.glances is None or shown.glances.ndim != 4:
            raise ValueError(_NO_GLANCE)
        maps = torch.as_tensor(shown.glances, device=self._coverage.device)
        count = maps.shape[1] // self._channels  # a channel that shows a cost has no places
        maps = maps[:, : count * self._channels].unflatten(1, (count, -1)).mean(dim=1)
        responses = class_activation(maps, self._head.weight, self._head.bias)
        scores = responses.flatten(1) @ self._coverage.T
        positions = scores.argmax(dim=1).cpu().numpy()
        return actions_of_positions(self._core, positions)


@torch.no_grad()
def class_activation(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Responses `(N, h, w)` of the class that the pooled maps `(N, C, h, w)` speak for most.

    Args:
        maps: glance maps.
        weight: `(K, C)` of the head on their mean.
        bias: `(K,)`.
    """
    logits = maps.mean(dim=(2, 3)) @ weight.T + bias
    chosen = weight[logits.argmax(dim=1)]
    return torch.einsum("nc,nchw->nhw", chosen, maps)


def patch_coverage(
    offsets: Tensor, *, patch_size: int, frame_size: int, map_size: tuple[int, ...]
) -> Tensor:
    """`(A, h * w)`: which share of each map cell lies under the patch at each offset.

    Args:
        offsets: `(A, 2)` (top, left) in pixels.
        patch_size: side of the patches in pixels.
        frame_size: side of the frame in pixels.
        map_size: (h, w) cells, which part the frame evenly.
    """
    overlaps = patch_overlaps(
        offsets, patch_size=patch_size, frame_size=frame_size, map_size=map_size
    )
    sides = [pixels * cells / frame_size for pixels, cells in zip(overlaps, map_size, strict=True)]
    return torch.einsum("ah,aw->ahw", *sides).flatten(1).float()
