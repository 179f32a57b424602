"""Drawing an episode: frame, patch, trail of earlier patches, most probable classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.outcome import Outcome

Image = npt.NDArray[np.uint8]
# (top, left) of a patch in pixels; None where the frame was skipped.
Corner = tuple[int, int] | None

_PICTURE_SIDE = 448  # small frames are enlarged by a whole factor to about this many pixels
_BAR_HEIGHT = 22
_TOP_CLASSES = 3
_BOX_COLOR = (60, 255, 90)
_TRAIL_COLOR = (255, 255, 255)
_RIGHT_COLOR = (60, 170, 80)
_WRONG_COLOR = (120, 120, 130)
_INK = (235, 235, 235)
PAPER = 28


def check_render_mode(render_mode: str | None) -> str | None:
    """The render mode.

    Raises:
        ValueError: neither None nor `"rgb_array"`.
    """
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is None or 'rgb_array', not {render_mode!r}")
    return render_mode


class FrameView:
    """What the agent has looked at so far in each row, for drawing; it changes no state.

    Args:
        core: the running episodes.
    """

    def __init__(self, core: EpisodeCore):
        self._core = core
        self._boxes: list[list[Corner]] = [[] for _ in range(core.num_rows)]
        self._frames = [0] * core.num_rows
        self._probabilities: list[npt.NDArray[np.float32] | None] = [None] * core.num_rows

    def reset(self, rows: Sequence[int]) -> None:
        """Forget the episodes of some rows."""
        for row in rows:
            self._boxes[row] = []
            self._frames[row] = 0
            self._probabilities[row] = None

    def record(self, outcome: Outcome, rows: Sequence[int]) -> None:
        """Remember one step of some rows, or whole episodes of them."""
        probabilities = outcome.logits.softmax(dim=-1).cpu().numpy()
        whole_episode = outcome.steps.dim() == 2
        shape = (len(rows), -1)
        offsets, focused = outcome.offsets.view(*shape, 2), outcome.focused.view(shape)
        for place, row in enumerate(rows):
            self._boxes[row] += corners(offsets[place].numpy(), focused[place].numpy())
            self._frames[row] = int(outcome.steps.view(shape)[place, -1])
            self._probabilities[row] = (
                probabilities[place, -1] if whole_episode else probabilities[place]
            )

    def draw(self, row: int) -> Image:
        """The frame that was looked at last, or the first one after a reset."""
        boxes = self._boxes[row]
        frame = self._core.features.frame(row, self._frames[row])
        return draw_step(
            frame,
            boxes,
            self._core.source.patch_size,
            probabilities=self._probabilities[row],
            class_names=self._core.source.class_names,
            label=int(self._core.labels[row]),
        )


def corners(offsets: npt.NDArray[np.int64], focused: npt.NDArray[np.bool_]) -> list[Corner]:
    """Offsets `(T, 2)` and `(T,)` as `draw_step` takes them."""
    pairs = zip(offsets.tolist(), focused.tolist(), strict=True)
    return [(top, left) if looked else None for (top, left), looked in pairs]


def draw_step(
    frame: Image,
    boxes: Sequence[Corner],
    patch_size: int,
    *,
    probabilities: npt.NDArray[np.float32] | None,
    class_names: Sequence[str],
    label: int | None,
    title: str = "",
) -> Image:
    """One frame of an episode as a picture.

    Args:
        frame: `(H, W, 3)` uint8 RGB.
        boxes: (top, left) in pixels of the patches so far, None in skipped frames; the last is
            drawn as the current one.
        patch_size: side of the patches in pixels.
        probabilities: `(K,)` after the look, or None before the first one.
        class_names: K names.
        label: true class; its bar is green. None: nobody knows it.
        title: written above the frame when given.

    Returns:
        uint8 RGB; its size depends on that of the frame and on whether there is a title.
    """
    scale = max(1, round(_PICTURE_SIDE / frame.shape[0]))
    picture = np.repeat(np.repeat(frame, scale, axis=0), scale, axis=1)
    middles = [
        ((box[1] + patch_size / 2) * scale, (box[0] + patch_size / 2) * scale)
        for box in boxes
        if box is not None
    ]
    for start, end in pairwise(middles):
        points = [(round(x), round(y)) for x, y in (start, end)]
        cv2.line(picture, points[0], points[1], _TRAIL_COLOR, 1, cv2.LINE_AA)
    for age, box in enumerate(reversed(boxes)):
        if box is not None:
            _draw_box(picture, box[0] * scale, box[1] * scale, patch_size * scale, age)
    if boxes and boxes[-1] is None:
        _write(picture, "skipped", 8, 20)
    parts = [picture, _bars(probabilities, class_names, label, picture.shape[1])]
    if title:
        parts.insert(0, _caption(title, picture.shape[1]))
    return np.concatenate(parts)


def _draw_box(picture: Image, top: int, left: int, side: int, age: int) -> None:
    """The current patch in green, earlier ones in white that fades within four steps."""
    if age > 4:
        return
    layer = picture.copy()
    color, thickness = (_BOX_COLOR, 3) if age == 0 else (_TRAIL_COLOR, 1)
    cv2.rectangle(layer, (left, top), (left + side - 1, top + side - 1), color, thickness)
    opacity = 1.0 if age == 0 else 0.7 - 0.15 * age
    cv2.addWeighted(layer, opacity, picture, 1.0 - opacity, 0.0, dst=picture)


def _bars(
    probabilities: npt.NDArray[np.float32] | None,
    class_names: Sequence[str],
    label: int | None,
    width: int,
) -> Image:
    """The most probable classes, one bar each."""
    panel = np.full((_BAR_HEIGHT * _TOP_CLASSES + 4, width, 3), PAPER, np.uint8)
    if probabilities is None:
        _write(panel, "before the first look", 6, 16)
        return panel
    for line, index in enumerate(np.argsort(-probabilities)[:_TOP_CLASSES]):
        y = line * _BAR_HEIGHT + 3
        length = round(float(probabilities[index]) * (width - 8))
        color = _RIGHT_COLOR if index == label else _WRONG_COLOR
        cv2.rectangle(panel, (4, y), (4 + length, y + _BAR_HEIGHT - 4), color, -1)
        _write(panel, f"{class_names[index]}  {probabilities[index]:.2f}", 8, y + 14)
    return panel


def _caption(title: str, width: int) -> Image:
    panel = np.full((_BAR_HEIGHT + 2, width, 3), PAPER, np.uint8)
    _write(panel, title, 6, 17)
    return panel


def _write(panel: Image, text: str, x: int, y: int) -> None:
    cv2.putText(panel, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
