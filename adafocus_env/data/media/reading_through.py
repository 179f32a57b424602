"""A picture stream decoded from its beginning to its end, every frame with its number."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from adafocus_env.data.media.packet_index import numbered_by_time, picture_packets
from adafocus_env.data.media.stall import beat

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def decoded(stream: VideoStream, packet: Packet[Any] | None) -> list[VideoFrame]:
    """What comes out of the decoder when a packet goes in.

    Raises:
        av.error.FFmpegError: it cannot use the packet.
    """
    try:
        return stream.codec_context.decode(packet)
    finally:
        beat()


def numbered_frames(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[int, VideoFrame]]:
    """Every frame with its number: its rank by time, or a count where times do not say."""
    import av

    coming: list[int] = []  # times of packets whose frames have not come out
    by_time, number = numbered_by_time(stream), -1
    begin: float | None = None  # pictures before this time may need what is not there
    shown: int | None = None  # when the last picture is shown
    packets = itertools.chain(picture_packets(container, stream), [None])
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # a damaged file ends here
            packet = None
        if packet is not None and not packet.is_discard:
            if packet.pts is None or packet.pts in coming:
                by_time = False
            elif shown is not None and packet.pts < shown:
                by_time = False  # streams were joined, and times restart
            elif by_time:
                heapq.heappush(coming, packet.pts)
                if begin is None:
                    begin = packet.pts if packet.is_keyframe else math.inf
        try:
            pictures = decoded(stream, packet)
        except av.error.FFmpegError:  # what cannot be decoded is left out
            pictures = []
        for picture in pictures:
            if by_time:
                if picture.pts not in coming:
                    continue  # it comes too late, in a damaged file: its number was passed over
                assert begin is not None
                while (lost := heapq.heappop(coming)) != picture.pts:
                    number += number >= 0 or lost >= begin
                shown = picture.pts
            number += 1
            yield number, picture
        if packet is None:
            return
