"""Frames of any size as square ones, by the crops of PUBLISHED.md or by other fits; flips."""

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
# How frames that are not square become so: the middle of them, as published; all of it, with other
# proportions; or all of it between black bars.
FITS = ("crop", "squash", "pad")


@dataclass(frozen=True)
class ClipTransform:
    """Frames of any size to square frames; one draw serves the whole clip.

    Attributes:
        frame_size: side of the result in pixels.
        augment: True: multi-scale crop at one of 13 positions, then a flip; False: what `fit` says.
        flip: mirror the whole clip with probability 1/2 when augmenting. Off where left and right
            have a meaning.
        crop: False takes frames as they are; they must already be `frame_size` square.
        fit: `"crop"`: shorter side to `frame_size * 256 / 224`, then the centre crop, and augmented
            crops of squares; `"squash"`: the whole frame resized, augmented crops of the frame's
            proportions; `"pad"`: the frame made square by black bars, then as a squashed one.
    """

    frame_size: int
    augment: bool = False
    flip: bool = True
    crop: bool = True
    fit: str = "crop"

    def shown_share(self, height: int, width: int) -> float:
        """The share of a frame, 0..1, that evaluation shows."""
        if not self.crop or self.fit != "crop":
            return 1.0
        shorter = self.frame_size * 256 // 224
        longer = shorter * max(height, width) // min(height, width)
        return self.frame_size**2 / (shorter * longer)

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
        else:
            frames = self._fitted(frames, crop_rng)
        if self.augment and self.flip and flip_rng.random() < 0.5:
            frames = torch.flip(frames, dims=(-1,))
        return frames.contiguous()

    def _fitted(self, frames: Tensor, crop_rng: np.random.Generator) -> Tensor:
        size = [self.frame_size, self.frame_size]
        if self.fit == "pad":
            frames = _padded(frames)
        height, width = frames.shape[-2:]
        fitted: Tensor
        if self.augment:
            box = _multi_scale_crop(
                height, width, self.frame_size, crop_rng, square=self.fit != "squash"
            )
            fitted = F.resized_crop(frames, *box, size, antialias=True)
        elif self.fit == "crop":
            # Published resize before the centre crop: shorter side 256 for a 224 crop.
            frames = F.resize(frames, [self.frame_size * 256 // 224], antialias=True)
            fitted = F.center_crop(frames, size)
        else:
            fitted = F.resize(frames, size, antialias=True)
        return fitted


def _padded(frames: Tensor) -> Tensor:
    """Frames in the middle of black squares."""
    height, width = frames.shape[-2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    padded: Tensor = F.pad(frames, [left, top, side - width - left, side - height - top])
    return padded


def _multi_scale_crop(
    height: int, width: int, frame_size: int, rng: np.random.Generator, *, square: bool = True
) -> tuple[int, int, int, int]:
    """`(top, left, height, width)` of a random crop in pixels.

    Its sides are shares of the frame's shorter side, or each of its own where `square` is False.
    """
    across, down = (min(height, width),) * 2 if square else (width, height)
    widths, heights = _crop_sides(across, frame_size), _crop_sides(down, frame_size)
    scales = range(len(_CROP_SCALES))
    pairs = [(widths[i], heights[j]) for i in scales for j in scales if abs(i - j) <= 1]
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    x, y = _CROP_POSITIONS[rng.integers(len(_CROP_POSITIONS))]
    return (
        y * ((height - crop_height) // 4),
        x * ((width - crop_width) // 4),
        crop_height,
        crop_width,
    )


def _crop_sides(side: int, frame_size: int) -> list[int]:
    sides = [int(side * scale) for scale in _CROP_SCALES]
    # A crop within two pixels of the target is taken at the target's size: no resampling blur.
    fits = frame_size <= side
    return [frame_size if fits and abs(one - frame_size) < 3 else one for one in sides]
