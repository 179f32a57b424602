"""Reading a video at another rate: the frames that `ffmpeg -r R` writes, from their time stamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from adafocus_env import limits

# FFmpeg's tolerance: a frame is left out when it ends more than this before its place, and what
# ends more than this behind it fills several places.
_TOLERANCE = 1.1
_LATE = 0.6  # of a place; a frame that begins later leaves the place to the one before
_GRID = 1 << 16  # FFmpeg rounds times to this part of a place ...
_OFF_THE_GRID = 1 / (1 << 17)  # ... and moves those between two places away from exact halves


def frames_at_rate(
    times: Sequence[Fraction],
    durations: Sequence[Fraction],
    rate: Fraction,
    *,
    alone: bool = True,
) -> list[int]:
    """Which frame of a video each frame at another rate is.

    FFmpeg's rule for a constant rate (`-r R`, of version 6.1 and later): a frame takes the next
    free place. Its lag is its time behind that place plus its duration, in places. With a lag of
    1.1 places or more it fills as many as that, rounded; the first of them show the frame before
    as far as it begins over .6 place late. With less than -1.1 it is left out. So a reduced rate
    begins with the first two frames, and every other frame ends about one place early. After the
    last frame it is repeated as often as the middle one of the last three begun late.

    (Versions before take another duration, which changes single frames where rates rise or vary.)

    Args:
        times: when each frame is shown in seconds, from the beginning of the file; ascending.
        durations: how long, in seconds.
        rate: R, frames a second.
        alone: nothing else is in the file, no sound: then FFmpeg begins with the first frame
            however late it is, else it fills the places before with it.

    Returns:
        Indices into `times`, ascending.

    Raises:
        ValueError: they are more than `limits.VIDEO_FRAMES`.
    """
    chosen: list[int] = []
    begun_late = [0, 0, 0]
    first = round(_in_places(times[0] * rate)) if alone and times else 0
    for index, (time, duration) in enumerate(zip(times, durations, strict=True)):
        late = _in_places(time * rate) - max(0, first) - len(chosen)
        lag = late + float(duration * rate)
        late = 0.0 if late < 0 < lag else late
        places, before = 1, 0
        if lag < -_TOLERANCE:
            places = 0
        elif lag > _TOLERANCE:
            places = round(lag)
            before = min(places, round(late - _LATE)) if late > _TOLERANCE else 0
        if len(chosen) + places > limits.VIDEO_FRAMES:
            raise ValueError(
                f"more than {limits.VIDEO_FRAMES} frames at frame_rate={float(rate):g}; lower it, "
                "or write the video anew: its times may be wrong"
            )
        begun_late = [before, *begun_late[:2]]
        chosen += [max(0, index - 1)] * before + [index] * (places - before)
    chosen += [len(times) - 1] * sorted(begun_late)[1]
    return chosen


def exact_rate(rate: float) -> Fraction:
    """The rate behind a rounded number, as FFmpeg reads it: 23.976 is 2997/125."""
    return Fraction(rate).limit_denominator(1_001_000)


def _in_places(time: Fraction) -> float:
    """A time in units of a frame at the asked rate."""
    places = math.floor(time * _GRID + Fraction(1, 2)) / _GRID
    if places != round(places):
        places += math.copysign(_OFF_THE_GRID, places)
    return places
