"""Which frames of a video make a clip (REFERENCE: segment sampling of the published system).

All indices are 0-based; the published lists name frames from 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FrameIndices = npt.NDArray[np.int64]


def random_segment_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator
) -> FrameIndices:
    """One random frame of each of `num_frames` equal segments (published training rule).

    Segments have `num_video_frames // num_frames` frames; the remainder at the end is never used.
    A video with fewer frames than segments gives all its frames, then repeats its last one.

    Args:
        num_video_frames: frames in the video, at least 1.
        num_frames: T, frames of the clip.
        rng: the episode's frame stream.

    Returns:
        `(T,)` indices, not descending.
    """
    _check(num_video_frames, num_frames)
    segment = num_video_frames // num_frames
    if segment == 0:
        return np.minimum(np.arange(num_frames, dtype=np.int64), num_video_frames - 1)
    starts = np.arange(num_frames, dtype=np.int64) * segment
    indices: FrameIndices = starts + rng.integers(0, segment, size=num_frames)
    return indices


def center_segment_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator | None = None
) -> FrameIndices:
    """The middle frame of each segment (published validation rule); nothing is drawn.

    For `num_video_frames > num_frames` index i is `floor(num_video_frames / T * (i + 1/2))`;
    a shorter video gives all its frames, then repeats its last one.

    Returns:
        `(T,)` indices, not descending.
    """
    del rng
    _check(num_video_frames, num_frames)
    if num_video_frames > num_frames:
        middle = num_video_frames / num_frames * (np.arange(num_frames) + 0.5)
        indices: FrameIndices = np.floor(middle).astype(np.int64)
        return indices
    return np.minimum(np.arange(num_frames, dtype=np.int64), num_video_frames - 1)


FrameSampling = Callable[[int, int, np.random.Generator], FrameIndices]

FRAME_SAMPLINGS: dict[str, FrameSampling] = {
    "random": random_segment_indices,
    "center": center_segment_indices,
}


def _check(num_video_frames: int, num_frames: int) -> None:
    if num_video_frames < 1 or num_frames < 1:
        raise ValueError(
            f"a clip needs at least one frame of a video with at least one frame, "
            f"got {num_frames} of {num_video_frames}"
        )
