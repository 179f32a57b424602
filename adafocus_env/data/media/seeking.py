"""Frames reached from the last packet before them at which decoding may begin."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adafocus_env.data.media.display import DisplayConversion, Frame
from adafocus_env.data.media.packet_index import PacketIndex, picture_packets

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


class Distrust(Exception):  # noqa: N818  # no error: another way is taken
    """The file does not behave as its index says."""


@dataclass(frozen=True)
class Stretch:
    """Packets from one at which decoding may begin to the last that is needed behind it.

    Attributes:
        first: position of the first.
        last: position of the last.
        frames: position of a wanted packet -> its frame's number.
    """

    first: int
    last: int
    frames: dict[int, int]


class OrderedFrames:
    """Collects the wanted frames of a stretch, and gives them in order."""

    def __init__(self, index: PacketIndex, stretch: Stretch, display: DisplayConversion):
        self._numbers = {int(index.pts[p]): n for p, n in stretch.frames.items()}
        self._wanted = iter(sorted(stretch.frames.values()))
        self._due = next(self._wanted, None)
        self._found: dict[int, Frame] = {}
        self._last = int(index.pts[stretch.first])
        self._display = display

    @property
    def missing(self) -> bool:
        """Whether a frame has not come out of the decoder yet."""
        return self._due is not None

    def take(self, pictures: Iterable[VideoFrame]) -> None:
        """Keep those that are wanted.

        Raises:
            Distrust: a picture is damaged, and how it is mended depends on what was decoded before;
                or the order of the pictures, or a time, is not that of the packets.
        """
        for picture in pictures:
            if picture.is_corrupt or picture.pts is None or picture.pts < self._last:
                raise Distrust
            self._last = picture.pts
            number = self._numbers.get(picture.pts)
            if number is not None:
                self._found[number] = self._display(picture)

    def ready(self) -> Iterator[tuple[int, Frame]]:
        """Those that no wanted one is missing before."""
        while self._due in self._found:
            assert self._due is not None
            yield self._due, self._found.pop(self._due)
            self._due = next(self._wanted, None)


def stretches(index: PacketIndex, wanted: list[int]) -> list[Stretch]:
    """What is to be decoded for some frames, in the order of the file."""
    keys = index.keys.tolist()
    found: dict[int, dict[int, int]] = {}
    for number in wanted:
        position = int(index.order[number])
        first = keys[bisect_right(keys, position) - 1]
        found.setdefault(first, {})[position] = number
    return [Stretch(first, max(frames), frames) for first, frames in sorted(found.items())]


def seek(
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
            raise Distrust from error
    raise Distrust


def check_same(index: PacketIndex, position: int, packet: Packet[Any]) -> None:
    """Refuse a packet that is not the one at its position.

    Raises:
        Distrust: it has another time or size.
    """
    if (packet.pts, packet.size) != (index.pts[position], index.sizes[position]):
        raise Distrust
