"""Opening a video file and nothing else: no other file, no network, no playlist, no device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.container_heads import kind_of_head, read_head

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# FFmpeg's demuxers of containers that hold their own frames. HLS, DASH, ffconcat, SDP, image
# sequences and the like, which name other files, are not among them.
_FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "asf", "asf_o", "flv", "ogg", "gif", "mpegts"),
    *("mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu", "ivf", "rm", "mxf", "nut", "dv", "wtv"),
    *("yuv4mpegpipe", "apng", "vc1"),
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS)}
_DAMAGED = "replace the video or take it off the list"


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its picture stream, to be decoded by one thread.

    Of several picture streams it is the one that players show: the default one, else the largest;
    never a cover picture.

    Raises:
        VideoError: the file is missing, no regular file, no container of frames, a playlist, or
            has no picture stream that can be decoded.
    """
    import av  # here, as it takes as long to import as everything else in this package

    check_file(path)
    try:
        container = av.open(f"file:{path.absolute()}", options=_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(
            f"{path}: FFmpeg cannot open this file ({_reason(error)}); is it a complete video?"
        ) from error
    with container:
        stream = _picture_stream(path, container)
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        for other in container.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all  # spares reading sound
        yield container, stream


def check_file(path: Path) -> None:
    """Refuse what is no file of frames by its place and its first bytes.

    Raises:
        VideoError: see `open_video`.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # reports could not name it
        raise VideoError(f"{str(path)!r}: the file name is no UTF-8 text; rename it") from None
    if path.is_dir():
        raise VideoError(f"{path}: a folder, not a video file; media=frames reads extracted frames")
    if not path.is_file():
        special = path.exists()
        what = "no regular file (a pipe or device)" if special else "no such video file"
        raise VideoError(f"{path}: {what}")
    try:
        kind = kind_of_head(read_head(path))
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    if kind == "empty":
        raise VideoError(f"{path}: the file is empty; {_DAMAGED}")
    if kind == "playlist":
        raise VideoError(
            f"{path}: a playlist, which names other files and is not followed; bring the video "
            "itself"
        )
    if kind != "video":
        raise VideoError(
            f"{path}: no video file: it does not begin as any known container does; {_DAMAGED}"
        )


def stays_inside(path: Path, root: Path) -> Path:
    """The path, if it lies below `root` when its links are followed.

    Raises:
        VideoError: it does not.
    """
    if not path.resolve().is_relative_to(root):
        raise VideoError(
            f"{path}: a link that leaves the data folder {root}; bring the video into it, or make "
            "the whole folder a link"
        )
    return path


def _picture_stream(path: Path, container: InputContainer) -> VideoStream:
    import av

    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    pictures = [s for s in container.streams.video if not s.disposition & still]
    if not container.streams:
        raise VideoError(f"{path}: FFmpeg finds nothing in this file; is it a complete video?")
    if not pictures:
        only = "only a cover picture" if container.streams.video else "no pictures, only sound"
        raise VideoError(f"{path}: no video in this file: it holds {only}; take it off the list")
    default = av.stream.Disposition.default
    best = max(pictures, key=lambda s: (bool(s.disposition & default), _area(s)))
    if best.codec_context is None:
        raise VideoError(
            f"{path}: FFmpeg has no decoder for this video's codec; write the video anew as H.264"
        )
    return best


def _area(stream: VideoStream) -> int:
    context = stream.codec_context
    return 0 if context is None else context.width * context.height


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().lower()
