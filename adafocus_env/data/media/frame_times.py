"""When the frames of a video are shown, and which of them another frame rate shows."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.frame_rate import frames_at_rate
from adafocus_env.data.media.open_video import open_video
from adafocus_env.data.media.packet_index import FileVersion, index_of, version_of
from adafocus_env.data.media.reading_through import numbered_frames

_JUMP = 10  # seconds


def count_frames(path: Path, index_folder: Path | None = None) -> int:
    """Frames at the video's own rate: its packets, or what decoding gives where they are not them.

    Raises:
        VideoError: the file cannot be opened.
    """
    index = index_of(path, index_folder)
    return len(_decoded_times(version_of(path))[0]) if index.why_counted else len(index.order)


def frames_shown(path: Path, rate: Fraction, index_folder: Path | None = None) -> list[int]:
    """Which frame at the video's own rate each frame at another rate is; see `frames_at_rate`.

    Raises:
        VideoError: the file cannot be opened, or says neither times nor a rate.
    """
    return _frames_shown(version_of(path), index_folder, rate)


@lru_cache(maxsize=32)
def _decoded_times(version: FileVersion) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """Times and durations of all frames in units of the stream, where packets do not say them."""
    times: list[int | None] = []
    durations: list[int] = []
    with open_video(version.path) as (container, stream):
        for _, picture in numbered_frames(container, stream):
            times.append(picture.pts)
            durations.append(picture.duration or 0)
    return tuple(times), tuple(durations)


@lru_cache(maxsize=32)
def _frames_shown(version: FileVersion, index_folder: Path | None, rate: Fraction) -> list[int]:
    import av

    path = version.path
    index = index_of(path, index_folder)
    units: Iterable[int | None]
    if index.why_counted:
        units, lengths = _decoded_times(version)
    else:
        units = index.pts[index.order].tolist()
        lengths = tuple(index.durations[index.order].tolist())
    with open_video(path) as (container, stream):
        base = stream.time_base
        own_rate = stream.guessed_rate or stream.average_rate
        start = Fraction(container.start_time or 0, 1_000_000)
        may_jump = av.format.Flags.ts_discont in av.format.Flags(container.format.flags)
        if may_jump and base is not None:
            # Where times may jump, ffmpeg counts from the streams that it uses: not from the sound.
            start = (stream.start_time or 0) * base
        alone = len(container.streams) == 1
    if None in units or base is None:
        if not own_rate:
            raise VideoError(
                f"{path}: the file says neither times nor a frame rate, which frame_rate="
                f"{float(rate):g} needs; write the video anew"
            )
        times = [k / own_rate for k in range(len(lengths))]
        return frames_at_rate(times, [1 / own_rate] * len(times), rate)
    times = [unit * base - start for unit in units if unit is not None]
    usual = 1 / own_rate if own_rate else Fraction(0)
    durations = []
    for k, length in enumerate(lengths):
        before = times[k] - times[k - 1] if k else usual
        durations.append(length * base if length else before)
    if may_jump:
        times = _without_jumps(times, durations)
    try:
        return frames_at_rate(times, durations, rate, alone=alone)
    except ValueError as error:
        raise VideoError(f"{path}: {error}") from error


def _without_jumps(times: list[Fraction], durations: list[Fraction]) -> list[Fraction]:
    """Times of streams that were joined: after a jump the frames go on where the last one ended.

    As ffmpeg does it for containers of broadcasts; its threshold (`-dts_delta_threshold`).
    """
    going_on, shift = times[:1], Fraction(0)
    for k in range(1, len(times)):
        if not 0 <= times[k] - times[k - 1] <= _JUMP:
            shift = going_on[-1] + durations[k - 1] - times[k]
        going_on.append(times[k] + shift)
    return going_on
