"""Which frames make a clip in the Something-Something family (PUBLISHED.md, "Sampling and crops").

They differ from those of `segments` in videos with few frames, which give their first frame
only, and in the order of float operations, which can choose the neighbouring frame. Glance and
focus frames of a clip are chosen independently, by the same rule. All indices are 0-based.
"""

from __future__ import annotations

import numpy as np

from adafocus_env.data.sampling.segments import (
    FRAME_SAMPLINGS,
    FrameIndices,
    FrameSampling,
    check_counts,
    dense_indices,
    random_segment_indices,
)


def random_or_first_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator
) -> FrameIndices:
    """One random frame of each of T equal segments of `n // T` frames (published training rule).

    A video with fewer frames than segments gives its first frame T times.

    Args:
        num_video_frames: n, at least 1.
        num_frames: T.
        rng: the episode's frame stream.

    Returns:
        `(T,)` indices, not descending.
    """
    if num_video_frames >= num_frames:
        return random_segment_indices(num_video_frames, num_frames, rng)
    return _first(num_video_frames, num_frames)


def center_or_first_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator | None = None
) -> FrameIndices:
    """The middle frame of each segment (published validation rule); nothing is drawn.

    A video of at most T frames gives its first frame T times.

    Returns:
        `(T,)` indices, not descending.
    """
    if num_video_frames > num_frames:
        return middle_indices(num_video_frames, num_frames, rng)
    return _first(num_video_frames, num_frames)


def middle_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator | None = None
) -> FrameIndices:
    """`int(t / 2 + t * i)` with `t = n / T`, for every n (published test rule); nothing is drawn.

    Returns:
        `(T,)` indices, not descending.
    """
    del rng
    check_counts(num_video_frames, num_frames)
    segment = num_video_frames / num_frames
    # Not segment * (i + 1/2): for 12 frames that is another frame at 125 lengths below 3000.
    indices: FrameIndices = (segment / 2 + segment * np.arange(num_frames)).astype(np.int64)
    return indices


# The names are those of `FRAME_SAMPLINGS`.
SHIFT_SAMPLINGS: dict[str, FrameSampling] = {
    "random": random_or_first_indices,
    "center": center_or_first_indices,
    "test": middle_indices,
    "dense": dense_indices,
}


def sampling_rules(num_glance_frames: int | None) -> dict[str, FrameSampling]:
    """The rules by name; the ActivityNet family's where the glancer has no frames of its own."""
    return FRAME_SAMPLINGS if num_glance_frames is None else SHIFT_SAMPLINGS


def _first(num_video_frames: int, num_frames: int) -> FrameIndices:
    check_counts(num_video_frames, num_frames)
    return np.zeros(num_frames, dtype=np.int64)
