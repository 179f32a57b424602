"""Drawing a closed loop: the frame, the last patch enlarged beside it, the belief as bars."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from adafocus_env.envs.outcome import Outcome
from adafocus_env.envs.rendering import PAPER, Corner, FrameView, Image


class LoopView(FrameView):
    """`FrameView` of a closed loop."""

    def record(self, outcome: Outcome, rows: Sequence[int]) -> None:
        """Remember one step of some rows; the action that ends an episode looks at nothing."""
        super().record(outcome, rows)
        for row in rows:
            self._boxes[row] = [box for box in self._boxes[row] if box is not None]

    def draw(self, row: int) -> Image:
        """As `FrameView.draw`, with the last patch beside it."""
        source, boxes = self._core.source, self._boxes[row]
        frame = self._core.features.frame(row, self._frames[row])
        picture = super().draw(row)
        return beside(picture, last_patch(frame, boxes, source.patch_size))


def last_patch(frame: Image, boxes: Sequence[Corner], patch_size: int) -> Image | None:
    """`(P, P, 3)` of a frame at the last of some corners; None without one."""
    if not boxes or boxes[-1] is None:
        return None
    top, left = boxes[-1]
    return frame[top : top + patch_size, left : left + patch_size]


def beside(picture: Image, patch: Image | None) -> Image:
    """A picture with a patch enlarged beside it, half as wide; dark where there is none."""
    side = picture.shape[1] // 2
    panel = np.full((picture.shape[0], side, 3), PAPER, np.uint8)
    if patch is not None:
        panel[:side] = cv2.resize(patch, (side, side), interpolation=cv2.INTER_NEAREST)
    return np.concatenate([picture, panel], axis=1)
