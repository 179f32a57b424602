"""VideoFile: frames of a video file by number, whichever way decodes fewest pictures.

Frame k is the k-th in display order, on every way. Few of many frames are reached from the last
packet before them at which decoding may begin, past those that no other picture needs; most of
them, or those of a file whose index cannot be trusted (`PacketIndex`), by reading through.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.container_heads import bytes_missing
from adafocus_env.data.media.display import DisplayConversion, Frame
from adafocus_env.data.media.frame_rate import exact_rate
from adafocus_env.data.media.frame_times import count_frames, frames_shown
from adafocus_env.data.media.open_video import check_file, open_video
from adafocus_env.data.media.packet_index import (
    PacketIndex,
    index_of,
    picture_packets,
    version_of,
)
from adafocus_env.data.media.reading_through import decoded, numbered_frames

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_READ_ON = 8  # packets to the next one needed; beyond, seeking costs less than reading them
_DENSE = 2  # of fewer frames than one in so many an index says how to reach them


class _Distrust(Exception):  # noqa: N818  # no error: another way is taken
    """The file does not behave as its index says."""


@dataclass(frozen=True)
class _Stretch:
    """Packets from one at which decoding may begin to the last that is needed behind it.

    Attributes:
        first: position of the first.
        last: position of the last.
        frames: position of a wanted packet -> its frame's number.
    """

    first: int
    last: int
    frames: dict[int, int]


class VideoFile:
    """A video file whose frames are read by number.

    Args:
        path: of the video file.
        frame_rate: R, frames a second to read it at; None is its own rate.
        index_folder: where indices of long videos are kept, see `index_of`.

    Raises:
        VideoError: no such file, or none that holds its own frames; see `open_video`.
    """

    def __init__(
        self,
        path: Path,
        frame_rate: float | None = None,
        *,
        index_folder: Path | None = None,
    ):
        check_file(path)
        self.path = path
        self._frame_rate = frame_rate
        self._index_folder = index_folder
        self._version = version_of(path)
        self._display = DisplayConversion(path)
        self.frames_read = 0

    @property
    def num_frames(self) -> int:
        """Frames at the asked rate: packets counted, or decoded where those are not the frames.

        Raises:
            VideoError: the file cannot be opened, or holds no frame.
        """
        count = count_frames(self.path, self._index_folder)
        if not count:
            raise VideoError(f"{self.path}: no frame of this video can be decoded; replace it")
        return count if self._frame_rate is None else len(self._shown(self._frame_rate))

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel by its height, as the file says; frames are not stretched by it."""
        with open_video(self.path) as (_, stream):
            return stream.sample_aspect_ratio or Fraction(1)

    def read(self, indices: Iterable[int] | None = None) -> Iterator[tuple[int, Frame]]:
        """Frames by number.

        Args:
            indices: 0-based frames at the asked rate, in any order; None is all of them.

        Yields:
            (index, `(H, W, 3)` uint8 RGB) of each distinct index, ascending. The array is new where
            the frame is.

        Raises:
            VideoError: the file ends before the last index, has no frame at all, or a frame that is
                asked for is damaged so that it cannot be decoded; or it changes meanwhile.
        """
        wanted = None if indices is None else sorted({int(i) for i in indices})
        if wanted == []:
            return
        if self._frame_rate is None:
            yield from self._own_frames(wanted)
            return
        sources = self._shown(self._frame_rate)
        if wanted is None:
            wanted = list(range(len(sources)))
        elif wanted[-1] >= len(sources):
            raise VideoError(self._too_short(len(sources), wanted[-1]))
        needed = self._own_frames(sorted({sources[k] for k in wanted}))
        number, frame = -1, None
        for k in wanted:
            while number < sources[k]:
                number, frame = next(needed)
            assert frame is not None
            yield k, frame

    def check_end(self) -> None:
        """Refuse a file that broke off; call it after all frames were read.

        Raises:
            VideoError: the file is shorter than its container says, or damaged on the way.
        """
        if bytes_missing(self.path):
            raise VideoError(
                f"{self.path}: the video breaks off after {self.frames_read} frames; replace it"
            )

    def _shown(self, frame_rate: float) -> list[int]:
        """The frame at the video's own rate that each frame at the asked rate is."""
        return frames_shown(self.path, exact_rate(frame_rate), self._index_folder)

    def _own_frames(self, wanted: list[int] | None) -> Iterator[tuple[int, Frame]]:
        """Frames at the video's own rate; ascending numbers, or all."""
        given = 0
        if wanted is not None and _DENSE * len(wanted) <= wanted[-1]:
            try:
                for number, frame in self._sought(wanted):
                    yield number, frame
                    given += 1
                return
            except _Distrust:
                self._check_unchanged()
        yield from self._read_through(wanted if wanted is None else wanted[given:])

    def _read_through(self, wanted: list[int] | None) -> Iterator[tuple[int, Frame]]:
        """All frames up to the last wanted one are decoded, the wanted ones converted."""
        asked = itertools.count() if wanted is None else iter(wanted)
        due = next(asked, None)
        end = 0
        with open_video(self.path) as (container, stream):
            for number, picture in numbered_frames(container, stream):
                end = number + 1
                if due is not None and number > due:
                    raise VideoError(
                        f"{self.path}: frame {due} is damaged and cannot be decoded; replace the "
                        "video"
                    )
                if number == due:
                    self.frames_read = end
                    yield number, self._display(picture)
                    due = next(asked, None)
                    if due is None:
                        break
        self._check_unchanged()
        if due is not None and (wanted is not None or end == 0):
            raise VideoError(self._too_short(end, due))

    def _sought(self, wanted: list[int]) -> Iterator[tuple[int, Frame]]:
        """The wanted frames from the packets at which decoding may begin before them.

        Raises:
            _Distrust: the index cannot be trusted, or packets or frames are not where it says.
        """
        with open_video(self.path) as (container, stream):
            index = index_of(self.path, self._index_folder, (container, stream))
            if not index.why_counted and wanted[-1] >= len(index.order):
                raise VideoError(self._too_short(len(index.order), wanted[-1]))
            if index.why_read_through:
                raise _Distrust
            unused = index.unused
            packets: Iterator[Packet[Any]] = iter(())  # it may have been read to its end
            position = -_READ_ON
            for stretch in _stretches(index, wanted):
                if stretch.first - position >= _READ_ON:
                    packets, position = _seek(container, stream, index, stretch.first)
                frames = _Ordered(index, stretch, self._display)
                for packet in packets:
                    if position >= stretch.first and (
                        position in stretch.frames or not unused[position]
                    ):
                        _check_same(index, position, packet)
                        frames.take(decoded(stream, packet))
                    position += 1
                    if position > stretch.last:
                        break
                if position <= stretch.last:
                    raise _Distrust
                yield from frames.ready()
                if frames.missing:
                    frames.take(decoded(stream, None))
                    yield from frames.ready()
                    stream.codec_context.flush_buffers()
                if frames.missing:
                    raise _Distrust
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        try:
            changed = version_of(self.path) != self._version
        except OSError:
            changed = True
        if changed:
            raise VideoError(
                f"{self.path}: the file was changed while it was read; wait until it is written"
            )

    def _too_short(self, readable: int, wanted: int) -> str:
        if not readable:
            return f"{self.path}: no frame of this video can be decoded; replace it"
        rate, cure = "", "correct the frame count in the list file or replace the video"
        if self._frame_rate is not None:
            rate = f" at frame_rate={self._frame_rate:g}"
            cure = "set frame_rate= to that of the list's frame counts, or replace the video"
        return (
            f"{self.path}: the video ends after {readable} readable frames{rate} but frame {wanted}"
            f" is needed; {cure}"
        )


class _Ordered:
    """Collects the wanted frames of a stretch, and gives them in order."""

    def __init__(self, index: PacketIndex, stretch: _Stretch, display: DisplayConversion):
        self._numbers = {int(index.pts[p]): n for p, n in stretch.frames.items()}
        self._wanted = iter(sorted(stretch.frames.values()))
        self._due = next(self._wanted, None)
        self._found: dict[int, Frame] = {}
        self._display = display

    @property
    def missing(self) -> bool:
        """Whether a frame has not come out of the decoder yet."""
        return self._due is not None

    def take(self, pictures: Iterable[VideoFrame]) -> None:
        """Keep those that are wanted."""
        for picture in pictures:
            number = self._numbers.get(-1 if picture.pts is None else picture.pts)
            if number is not None:
                self._found[number] = self._display(picture)

    def ready(self) -> Iterator[tuple[int, Frame]]:
        """Those that no wanted one is missing before."""
        while self._due in self._found:
            assert self._due is not None
            yield self._due, self._found.pop(self._due)
            self._due = next(self._wanted, None)


def _stretches(index: PacketIndex, wanted: list[int]) -> list[_Stretch]:
    """What is to be decoded for some frames, in the order of the file."""
    keys = index.keys.tolist()
    found: dict[int, dict[int, int]] = {}
    for number in wanted:
        position = int(index.order[number])
        first = keys[bisect_right(keys, position) - 1]
        found.setdefault(first, {})[position] = number
    return [_Stretch(first, max(frames), frames) for first, frames in sorted(found.items())]


def _seek(
    container: InputContainer, stream: VideoStream, index: PacketIndex, first: int
) -> tuple[Iterator[Packet[Any]], int]:
    """Packets from a little before `first` on, and the position of the next one."""
    import av

    # MP4 seeks by decoding times, Matroska by display times, MPEG-TS finds about either.
    for target in sorted({int(index.dts[first]), int(index.pts[first])}, reverse=True):
        try:
            container.seek(target, stream=stream)
            packets = picture_packets(container, stream)
            for packet in packets:
                position = index.positions.get(packet.pts)
                if position is None:
                    continue
                if position > first:
                    break
                return itertools.chain([packet], packets), position
        except av.error.FFmpegError as error:
            raise _Distrust from error
    raise _Distrust


def _check_same(index: PacketIndex, position: int, packet: Packet[Any]) -> None:
    if (packet.pts, packet.size) != (index.pts[position], index.sizes[position]):
        raise _Distrust
