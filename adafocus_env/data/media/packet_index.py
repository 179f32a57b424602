"""PacketIndex: the packets of a picture stream, read without decoding them, and their trust.

Frame k of a video is the k-th in display order. Where every packet is one frame and says when it is
shown, k is its rank by time; where also some packets provably need none before them, frames can be
reached without decoding all of what comes before. Anything else is read through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adafocus_env.data.media.coded_pictures import parser_of
from adafocus_env.data.media.open_video import open_video
from adafocus_env.data.media.stall import beat
from adafocus_env.files import atomic_path
from adafocus_env.folders import make_folder

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

Integers = npt.NDArray[np.int64]

INDEX_FOLDER = "media_index"  # of a run
_VERSION = 1
# Shorter videos are indexed in less time than a file takes to open.
_WORTH_KEEPING = 500
_REMEMBERED = 32
# One packet is one frame in these, in the containers that give each a time.
_ONE_EACH = ("h264", "hevc", "vp9", "av1")
_PROGRESSIVE = (0, 1)  # FFmpeg's field orders: not said, progressive
_SMALLEST_MPEG4 = 20  # bytes; smaller ones may be "not coded", for which no frame comes out
_KEY, _UNUSED, _HIDDEN = 1, 2, 4


@dataclass(frozen=True)
class PacketIndex:
    """Packets in decoding order.

    Attributes:
        pts: when each is shown, in units of the stream's time base.
        dts: when each is decoded; when it is shown where the file does not say.
        durations: how long each is shown; 0 where the file does not say.
        sizes: bytes of each.
        flags: of each: decoding may begin here; no other needs it; an edit list hides it.
        why_counted: why the frames are those that decoding gives, not the packets; empty: they are
            the packets that are not hidden, by `pts`.
        why_read_through: why frames are reached from the beginning only; empty: they need not be.
    """

    pts: Integers
    dts: Integers
    durations: Integers
    sizes: Integers
    flags: npt.NDArray[np.uint8]
    why_counted: str = ""
    why_read_through: str = ""
    order: Integers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Rank what is shown."""
        shown = np.flatnonzero((self.flags & _HIDDEN) == 0)
        object.__setattr__(self, "order", shown[np.argsort(self.pts[shown], kind="stable")])

    @cached_property
    def positions(self) -> dict[int | None, int]:
        """Position of each packet by its time."""
        return {time: position for position, time in enumerate(self.pts.tolist())}

    @property
    def keys(self) -> Integers:
        """Positions at which decoding may begin, ascending."""
        return np.flatnonzero(self.flags & _KEY)

    @property
    def unused(self) -> npt.NDArray[np.bool_]:
        """Of each packet: whether no other picture needs it."""
        unused: npt.NDArray[np.bool_] = (self.flags & _UNUSED) != 0
        return unused


def picture_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
    """Packets that hold something; AVI marks repeated pictures by empty ones."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # PyAV does not know a stream that begins on the way; it is not ours
            packets = container.demux(stream)
            continue
        if packet is None:
            return
        if packet.size:
            beat()
            yield packet


def numbered_by_time(stream: VideoStream) -> bool:
    """Whether each packet of this codec is one frame, as far as its head says."""
    context = stream.codec_context
    known = context.codec.canonical_name in _ONE_EACH or bool(context.codec.intra_only)
    return known and context.field_order in _PROGRESSIVE


class FileVersion(NamedTuple):
    """What is remembered of a file holds as long as these are the same."""

    path: Path
    size: int
    mtime_ns: int


def version_of(path: Path) -> FileVersion:
    """Of a file as it is now."""
    found = path.stat()
    return FileVersion(path, found.st_size, found.st_mtime_ns)


_remembered: dict[FileVersion, PacketIndex] = {}


def index_of(
    path: Path,
    folder: Path | None = None,
    opened: tuple[InputContainer, VideoStream] | None = None,
) -> PacketIndex:
    """The index of a video, made anew unless it was kept under the file's size and time.

    Args:
        path: of the video.
        folder: where indices of long videos are kept; None keeps some in memory alone.
        opened: the video at its beginning, if it is open; at its end afterwards, if it is read.

    Raises:
        VideoError: the file cannot be opened.
    """
    version = version_of(path)
    index = _remembered.get(version)
    if index is not None:
        return index
    kept = None
    if folder is not None:
        key = "\n".join(map(str, (*version._replace(path=path.absolute()), _VERSION)))
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        kept = folder / name[:2] / f"{name}.npz"
        index = _load(kept)
    if index is None:
        if opened is None:
            with open_video(path) as once:
                index = make_index(*once)
        else:
            index = make_index(*opened)
        if kept is not None and len(index.pts) >= _WORTH_KEEPING:
            _save(kept, index)
    if len(_remembered) >= _REMEMBERED:
        del _remembered[next(iter(_remembered))]
    _remembered[version] = index
    return index


def _save(path: Path, index: PacketIndex) -> None:
    make_folder(path.parent)
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(
            file,
            times=np.stack([index.pts, index.dts, index.durations, index.sizes]),
            flags=index.flags,
            why=np.array([index.why_counted, index.why_read_through]),
        )


def _load(path: Path) -> PacketIndex | None:
    """None where there is none or something has damaged it: the index is made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            counted, read_through = kept["why"].tolist()
            pts, dts, durations, sizes = kept["times"]
            return PacketIndex(pts, dts, durations, sizes, kept["flags"], counted, read_through)
    except (OSError, ValueError, KeyError, EOFError):
        return None


def make_index(container: InputContainer, stream: VideoStream) -> PacketIndex:
    """Demux a video from its beginning to its end."""
    import av

    context = stream.codec_context
    codec, extradata = context.codec.canonical_name, context.extradata
    parse = parser_of(codec, extradata, intra_only=bool(context.codec.intra_only))
    rows: list[tuple[int, int, int, int, int]] = []
    layers: list[int] = []
    broken, untimed, parameters = "", False, []
    try:
        for packet in picture_packets(container, stream):
            untimed |= packet.pts is None
            broken = broken or ("a packet is damaged" if packet.is_corrupt else "")
            marks = _HIDDEN * packet.is_discard
            if parse is not None:
                picture = parse(memoryview(packet))
                layers.append(picture.layer)
                if picture.parameters:
                    parameters.append(len(rows))
                marks |= _KEY * (picture.resets and packet.is_keyframe) | _UNUSED * picture.unused
            shown = packet.pts or 0
            decoded = shown if packet.dts is None else packet.dts
            rows.append((shown, decoded, packet.duration or 0, packet.size, marks))
    except av.error.FFmpegError as error:
        broken = f"the file is damaged ({error.strerror})"
    table = np.array(rows, np.int64).reshape(-1, 5)
    pts, dts, durations, sizes = table[:, :4].T.copy()
    flags = table[:, 4].astype(np.uint8)
    if layers and codec == "hevc":
        flags[np.array(layers) < max(layers)] &= ~np.uint8(_UNUSED)
    counted = _why_counted(stream, parse is not None, broken, untimed, pts, sizes, flags)
    through = counted or _why_read_through(pts, flags, parameters)
    return PacketIndex(pts, dts, durations, sizes, flags, counted, through)


def _why_counted(
    stream: VideoStream,
    known: bool,
    broken: str,
    untimed: bool,
    pts: Integers,
    sizes: Integers,
    flags: npt.NDArray[np.uint8],
) -> str:
    codec = stream.codec_context.codec.canonical_name
    if not known:
        return f"{codec} is read through"
    if stream.codec_context.field_order not in _PROGRESSIVE:
        return "interlaced: a packet may be a field"
    if broken or not len(pts):
        return broken or "no packet"
    if untimed:
        return "packets without a time"
    if codec == "mpeg4" and sizes.min() < _SMALLEST_MPEG4:
        return "packets that may hold no picture"
    if len(np.unique(pts)) < len(pts):
        return "repeated time stamps"
    keys = np.flatnonzero(flags & _KEY)
    if not len(keys) or keys[0] != 0:
        return "it does not begin with a key frame"
    if (pts < pts[0]).any():
        return "pictures before the first key frame"
    return ""


def _why_read_through(pts: Integers, flags: npt.NDArray[np.uint8], parameters: list[int]) -> str:
    keys = np.flatnonzero(flags & _KEY)
    # A picture behind a key frame in decoding order but shown before it belongs to an open group.
    first_of_group = keys[np.searchsorted(keys, np.arange(len(pts)), side="right") - 1]
    if (pts < pts[first_of_group]).any():
        return "open groups of pictures"
    last_before = np.maximum.accumulate(pts)
    if (last_before[keys[1:] - 1] >= pts[keys[1:]]).any():
        return "groups of pictures overlap"
    if parameters and parameters not in ([0], keys.tolist()):
        return "parameters change on the way"
    return ""
