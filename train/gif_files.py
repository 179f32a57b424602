"""Animated GIFs, for files and for TensorBoard, which shows them as videos."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

_MILLISECONDS = 1000


def gif_bytes(frames: Sequence[npt.NDArray[np.uint8]], frames_per_second: float) -> bytes:
    """An endlessly repeated GIF of RGB uint8 frames `(H, W, 3)`.

    Each frame has a palette of its own, of 256 colours. Durations are written in hundredths of a
    second; frames that equal the one before are kept, as a longer one.

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("a GIF needs at least one frame")
    pictures = [
        Image.fromarray(frame).quantize(256, method=Image.Quantize.MEDIANCUT) for frame in frames
    ]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=max(10, round(_MILLISECONDS / frames_per_second)),
        loop=0,
    )
    return file.getvalue()
