"""A picture stream decoded from its beginning to its end, every frame with its number."""

from __future__ import annotations

import heapq
import itertools
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
    """What comes out of the decoder when a packet goes in; what it cannot use is left out."""
    import av

    try:
        return stream.codec_context.decode(packet)
    except av.error.FFmpegError:
        return []
    finally:
        beat()


def numbered_frames(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[int, VideoFrame]]:
    """Every frame with its number: its rank by time, or a count where times do not say."""
    import av

    coming: list[int] = []  # times of packets whose frames have not come out
    by_time, number = numbered_by_time(stream), -1
    packets = itertools.chain(picture_packets(container, stream), [None])
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # a damaged file ends here
            packet = None
        if packet is not None and not packet.is_discard:
            if packet.pts is None or packet.pts in coming:
                by_time = False
            elif by_time:
                heapq.heappush(coming, packet.pts)
        for picture in decoded(stream, packet):
            if by_time and picture.pts in coming:
                while heapq.heappop(coming) != picture.pts:
                    number += number >= 0  # one that was lost; before the first none is
            number += 1
            yield number, picture
        if packet is None:
            return
