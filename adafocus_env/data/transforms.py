"""Crops and flips of whole clips, to the letter of PUBLISHED.md, "Sampling and crops"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

# (x, y) multipliers of a quarter of the free range: the 13 crop positions of multi-scale cropping.
_CROP_POSITIONS = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)
_CROP_SCALES = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True)
class ClipTransform:
    """Frames of any size to square frames; one draw serves the whole clip.

    Attributes:
        frame_size: side of the result in pixels.
        augment: True: multi-scale crop at one of 13 positions, then a flip; False: shorter side to
            `frame_size * 256 / 224`, then the centre crop.
        flip: mirror the whole clip with probability 1/2 when augmenting. Off where left and right
            have a meaning.
        crop: False takes frames as they are; they must already be `frame_size` square.
    """

    frame_size: int
    augment: bool = False
    flip: bool = True
    crop: bool = True

    def __call__(
        self, frames: Tensor, crop_rng: np.random.Generator, flip_rng: np.random.Generator
    ) -> Tensor:
        """Transform a clip.

        Args:
            frames: `(T, 3, H, W)` uint8.
            crop_rng: the episode's crop stream; unused without `augment`.
            flip_rng: the episode's flip stream; unused without `augment`.

        Returns:
            `(T, 3, frame_size, frame_size)` uint8.

        Raises:
            ValueError: `crop` is False and the frames have another size.
        """
        size = [self.frame_size, self.frame_size]
        height, width = frames.shape[-2:]
        if not self.crop:
            if [height, width] != size:
                raise ValueError(
                    f"frames are {width}x{height} pixels but {size[0]}x{size[0]} was asked for; "
                    "set crop=true to crop and resize them"
                )
        elif self.augment:
            top, left, crop_height, crop_width = _multi_scale_crop(
                height, width, self.frame_size, crop_rng
            )
            frames = F.resized_crop(
                frames, top, left, crop_height, crop_width, size, antialias=True
            )
        else:
            # Published resize before the centre crop: shorter side 256 for a 224 crop.
            frames = F.resize(frames, [self.frame_size * 256 // 224], antialias=True)
            frames = F.center_crop(frames, size)
        if self.augment and self.flip and flip_rng.random() < 0.5:
            frames = torch.flip(frames, dims=(-1,))
        return frames.contiguous()


def _multi_scale_crop(
    height: int, width: int, frame_size: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """`(top, left, height, width)` of a random crop in pixels."""
    sides = [int(min(height, width) * scale) for scale in _CROP_SCALES]
    # A crop within two pixels of the target is taken at the target's size: no resampling blur.
    fits = frame_size <= min(height, width)
    sides = [frame_size if fits and abs(side - frame_size) < 3 else side for side in sides]
    pairs = [
        (sides[i], sides[j])
        for i in range(len(sides))
        for j in range(len(sides))
        if abs(i - j) <= 1
    ]
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    x, y = _CROP_POSITIONS[rng.integers(len(_CROP_POSITIONS))]
    return (
        y * ((height - crop_height) // 4),
        x * ((width - crop_width) // 4),
        crop_height,
        crop_width,
    )
