"""Which frames of a video make a clip: the four rules of the published system.

All indices are 0-based; the published lists name frames from 1. n is the number of frames of the
video, T that of the clip.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FrameIndices = npt.NDArray[np.int64]

DENSE_SPAN = 64  # frames of the video that a dense clip reaches over


def random_segment_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator
) -> FrameIndices:
    """One random frame of each of T equal segments (published training rule).

    Segments have `n // T` frames; the remainder at the end is never used. A video with fewer frames
    than segments gives all its frames, then repeats its last one.

    Args:
        num_video_frames: n, at least 1.
        num_frames: T.
        rng: the episode's frame stream.

    Returns:
        `(T,)` indices, not descending.
    """
    check_counts(num_video_frames, num_frames)
    segment = num_video_frames // num_frames
    if segment == 0:
        return _all_then_last(num_video_frames, num_frames)
    starts = np.arange(num_frames, dtype=np.int64) * segment
    indices: FrameIndices = starts + rng.integers(0, segment, size=num_frames)
    return indices


def center_segment_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator | None = None
) -> FrameIndices:
    """The middle frame of each segment (published validation rule); nothing is drawn.

    For n > T index i is `floor(n / T * (i + 1/2))`; a shorter video gives all its frames, then
    repeats its last one.

    Returns:
        `(T,)` indices, not descending.
    """
    if num_video_frames > num_frames:
        return even_indices(num_video_frames, num_frames, rng)
    check_counts(num_video_frames, num_frames)
    return _all_then_last(num_video_frames, num_frames)


def even_indices(
    num_video_frames: int, num_frames: int, rng: np.random.Generator | None = None
) -> FrameIndices:
    """`floor(n / T * (i + 1/2))` for every n (published test rule); nothing is drawn.

    A video with fewer frames than T repeats each of them about equally often.

    Returns:
        `(T,)` indices, not descending.
    """
    del rng
    check_counts(num_video_frames, num_frames)
    middle = num_video_frames / num_frames * (np.arange(num_frames) + 0.5)
    indices: FrameIndices = np.floor(middle).astype(np.int64)
    return indices


def dense_indices(num_video_frames: int, num_frames: int, rng: np.random.Generator) -> FrameIndices:
    """Every `64 // T`-th frame from a random start (published dense rule).

    The start is drawn from `[0, m - 1)` with `m = max(1, 1 + n - 64)`, and is 0 for m = 1. A video
    of fewer than 64 frames goes round: indices are taken modulo n.

    Returns:
        `(T,)` indices, which go back to the beginning where the video ends.

    Raises:
        ValueError: T is above 64, which leaves no stride.
    """
    check_counts(num_video_frames, num_frames)
    if num_frames > DENSE_SPAN:
        raise ValueError(
            f"dense sampling spreads a clip over {DENSE_SPAN} frames: num_frames={num_frames} is "
            "too many; use sampling random or center"
        )
    starts = max(1, 1 + num_video_frames - DENSE_SPAN)
    start = 0 if starts == 1 else int(rng.integers(0, starts - 1))
    steps = np.arange(num_frames, dtype=np.int64) * (DENSE_SPAN // num_frames)
    indices: FrameIndices = (start + steps) % num_video_frames
    return indices


FrameSampling = Callable[[int, int, np.random.Generator], FrameIndices]

FRAME_SAMPLINGS: dict[str, FrameSampling] = {
    "random": random_segment_indices,
    "center": center_segment_indices,
    "test": even_indices,
    "dense": dense_indices,
}

TRAIN_SAMPLINGS = ("random", "dense")
EVAL_SAMPLINGS = ("center", "test", "dense")


def fixed_sampling(name: str) -> str:
    """The rule without chance by which frames are compared: `name` itself, or `"center"`."""
    return name if name in ("center", "test") else "center"


def _all_then_last(num_video_frames: int, num_frames: int) -> FrameIndices:
    return np.minimum(np.arange(num_frames, dtype=np.int64), num_video_frames - 1)


def check_counts(num_video_frames: int, num_frames: int) -> None:
    """Refuse clips and videos without frames.

    Raises:
        ValueError: one of the numbers is below 1.
    """
    if num_video_frames < 1 or num_frames < 1:
        raise ValueError(
            f"a clip needs at least one frame of a video with at least one frame, "
            f"got {num_frames} of {num_video_frames}"
        )
