"""What the first bytes of a coded picture say: can decoding begin here, does any other need it.

A container's key frame flag alone is no proof: it also stands on pictures after which others still
refer to what came before. Each codec says it in its own bits, which are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class CodedPicture:
    """What is known of one packet of the picture stream.

    Attributes:
        resets: decoding may begin here: nothing behind it refers to anything before it.
        unused: no other picture refers to this one.
        layer: temporal layer; an unused picture may still serve those of higher layers.
        parameters: it carries parameter sets, which those behind it may need.
    """

    resets: bool
    unused: bool = False
    layer: int = 0
    parameters: bool = False


Parser = Callable[[memoryview], CodedPicture]


def parser_of(codec: str, extradata: bytes | None, *, intra_only: bool) -> Parser | None:
    """Reads the packets of a codec; None for codecs that are not known well enough.

    Args:
        codec: FFmpeg's canonical name.
        extradata: of the stream: says how H.264 and HEVC units are framed.
        intra_only: every picture of this codec stands alone.
    """
    if intra_only:
        return lambda _: CodedPicture(resets=True, unused=True)
    extra = extradata or b""
    if codec == "h264":
        width = (extra[4] & 3) + 1 if len(extra) > 6 and extra[0] == 1 else 0
        return lambda data: _h264(data, width)
    if codec == "hevc":
        width = (extra[21] & 3) + 1 if len(extra) > 22 and extra[0] == 1 else 0
        return lambda data: _hevc(data, width)
    return {"mpeg4": _mpeg4, "vp9": _vp9, "av1": _av1}.get(codec)


def _units(data: memoryview, width: int) -> Iterator[memoryview]:
    """NAL units of a packet: behind their length in `width` bytes, or behind start codes."""
    at = 0
    if width:
        while at + width < len(data):
            end = at + width + int.from_bytes(data[at : at + width], "big")
            yield data[at + width : end]
            at = end
        return
    whole = bytes(data)
    at = whole.find(b"\0\0\x01")
    while at >= 0:
        yield data[at + 3 :]
        at = whole.find(b"\0\0\x01", at + 3)


def _h264(data: memoryview, width: int) -> CodedPicture:
    """Type 5 is an IDR picture; a reference count of 0 says that none refers to it."""
    parameters = False
    for unit in _units(data, width):
        kind = unit[0] & 0x1F if len(unit) else 0
        parameters |= kind in (7, 8)
        if kind in (1, 2, 5):
            return CodedPicture(kind == 5, (unit[0] & 0x60) == 0, 0, parameters)
    return CodedPicture(resets=False, parameters=parameters)


def _hevc(data: memoryview, width: int) -> CodedPicture:
    """Types 19 and 20 are IDR pictures; even ones below 16 serve none of their own layer."""
    parameters = False
    for unit in _units(data, width):
        if len(unit) < 2:
            continue
        kind = unit[0] >> 1 & 0x3F
        parameters |= kind in (32, 33, 34)
        if kind < 32:
            unused = kind < 16 and kind % 2 == 0
            return CodedPicture(kind in (19, 20), unused, (unit[1] & 7) - 1, parameters)
    return CodedPicture(resets=False, parameters=parameters)


def _mpeg4(data: memoryview) -> CodedPicture:
    """Type 0 of a video object plane is an I, 2 a B picture."""
    at = bytes(data).find(b"\0\0\x01\xb6")
    kind = data[at + 4] >> 6 if 0 <= at < len(data) - 4 else 1
    return CodedPicture(resets=kind == 0, unused=kind == 2)


def _vp9(data: memoryview) -> CodedPicture:
    """Bits of the first byte, from the top: 2 mark, 2 profile, shows another, no key frame."""
    first = data[0] if len(data) else 0xFF
    known = first >> 6 == 2 and first & 0x30 != 0x30
    return CodedPicture(resets=known and first & 0x0C == 0)


def _av1(data: memoryview) -> CodedPicture:
    """A sequence header, and behind it a frame that is a key frame and is shown."""
    at, parameters = 0, False
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        length = len(data) - at
        if sized:
            length, shift = 0, 0
            while at < len(data):
                length |= (data[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if not data[at - 1] & 0x80:
                    break
        if kind == 1:
            parameters = True
        elif kind in (3, 6):  # a frame's header, alone or with the frame
            bits = data[at] if at < len(data) else 0xFF
            return CodedPicture(resets=parameters and bits & 0xF0 == 0x10)
        at += length
    return CodedPicture(resets=False)
