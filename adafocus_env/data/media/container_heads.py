"""What kind of file a file is by its first bytes, and how long its container says that it is."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

# Suffixes under which video files are looked for when a list leaves them out, and by which
# `extract-frames` takes a file without looking into it.
VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".wmv", ".asf", ".flv", ".f4v", ".gif", ".ogv", ".ogg", ".3gp", ".3g2", ".vob", ".mpv"),
    *(".m2v", ".mxf", ".dv", ".divx", ".xvid", ".rm", ".rmvb", ".qt", ".ivf", ".nut", ".y4m"),
    *(".h264", ".264", ".hevc", ".265", ".obu", ".wtv", ".apng"),
)
# Containers of these names hold sound.
SOUND_SUFFIXES = (".m4a", ".m4b", ".mka", ".oga", ".opus", ".spx", ".weba", ".wma", ".ra", ".aac")

_HEAD = 2048
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof")
# (offset, bytes): all of them hold the frames themselves.
_MAGIC = (
    *((0, _EBML), (0, b"FLV\x01"), (0, b"OggS"), (0, b"GIF87a"), (0, b"GIF89a")),
    (0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),  # ASF and WMV
    (0, bytes.fromhex("b7d800203749da11a64e0007e95ead8d")),  # WTV
    *((0, b".RMF"), (0, b"DKIF"), (0, b"nut/multimedia"), (0, b"YUV4MPEG2")),
    *((0, bytes.fromhex("060e2b34020501010d0102")), (0, bytes.fromhex("1f0700"))),  # MXF, DV
    *((0, b"\0\0\0\x01"), (0, b"\x12\0\x0a")),  # H.264, HEVC, AV1 without a container
)
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"[Reference]", b"<ASX", b"<asx")


def kind_of_head(head: bytes) -> str:
    """`"video"`: a container that holds its own frames; `"playlist"`, `"empty"` or `"other"`."""
    if not head:
        return "empty"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(_PLAYLISTS) or (text.startswith(b"<?xml") and b"<MPD" in text):
        return "playlist"
    if head[4:8] in _BOXES or (head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX")):
        return "video"
    if head[:8] == b"\x89PNG\r\n\x1a\n" and b"acTL" in head:  # animated
        return "video"
    if any(head[at : at + len(magic)] == magic for at, magic in _MAGIC):
        return "video"
    if head[:3] == b"\0\0\x01" and head[3:4] != b"\0":  # MPEG program and bare streams; no icon
        return "video"
    # MPEG transport streams, with four bytes of time before each packet (M2TS) or without.
    for step, first in ((188, 0), (192, 4), (204, 0)):
        if len(head) > first + 2 * step and all(head[first + i * step] == 0x47 for i in range(3)):
            return "video"
    return "other"


def is_video_file(path: Path) -> bool:
    """Whether a regular file is one by its suffix, in any case, or by its head."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    if path.suffix.lower() in SOUND_SUFFIXES:
        return False
    try:
        return kind_of_head(read_head(path)) == "video"
    except OSError:
        return False


def read_head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(_HEAD)


def bytes_missing(path: Path) -> int:
    """How many bytes the file is shorter than its container says; 0 where it does not say.

    Known for MP4 and MOV (boxes), Matroska and WebM (the segment) and AVI (the RIFF chunk).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[4:8] in _BOXES:
            return max(0, _end_of_boxes(file, size) - size)
        if head[:4] == b"RIFF":
            return max(0, 8 + int.from_bytes(head[4:8], "little") - size)
        if head[:4] == _EBML:
            return max(0, _end_of_segment(head) - size)
    return 0


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 file ends; a box that starts in the file may end behind it."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # to the end of the file
            return size
        if length < 8 or not head[4:8].isalnum():  # something else was written behind the boxes
            return size
        end += length
    return end


def _end_of_segment(head: bytes) -> int:
    """Where a Matroska segment ends, 0 if it does not say (live recordings)."""
    at = 4
    length, width = _ebml_number(head, at)
    at += width + length
    if head[at : at + 4] != _SEGMENT:
        return 0
    length, width = _ebml_number(head, at + 4)
    unknown = length == (1 << 7 * width) - 1
    return 0 if unknown else at + 4 + width + length


def _ebml_number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number and the bytes it takes."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length() if first else 8
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return value, width
