"""VideoFile: frames of a video file by number, whichever way decodes fewest pictures.

Frame k is the k-th in display order, on every way. Few of many frames are reached from the last
packet before them at which decoding may begin, past those that no other picture needs; most of
them, or those of a file whose index cannot be trusted (`PacketIndex`), by reading through.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
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
    index_of,
    version_of,
)
from adafocus_env.data.media.reading_through import decoded, numbered_frames
from adafocus_env.data.media.seeking import (
    Distrust,
    OrderedFrames,
    check_same,
    seek,
    stretches,
)

if TYPE_CHECKING:
    from av.packet import Packet

_READ_ON = 8  # packets to the next one needed; beyond, seeking costs less than reading them
_DENSE = 2  # of fewer frames than one in so many an index says how to reach them


class VideoFile:
    """A video file whose frames are read by number.

    Args:
        path: of the video file.
        frame_rate: R, frames a second to read it at; None is its own rate.
        index_folder: where indices of long videos are kept, see `index_of`.

    Attributes:
        path: as given.
        frames_read: number of the last frame that was read, from 1.
        pixel_aspect: width of a pixel by its height, as the file says; frames are not stretched by
            it. 1 before the first frame was read.

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
        self.pixel_aspect = Fraction(1)
        self._count = 0  # where reading has come to the end

    @property
    def num_frames(self) -> int:
        """Frames at the asked rate: packets counted, or decoded where those are not the frames.

        Raises:
            VideoError: the file cannot be opened, or holds no frame.
        """
        count = self._count or count_frames(self.path, self._index_folder)
        if not count:
            raise VideoError(f"{self.path}: no frame of this video can be decoded; replace it")
        return count if self._frame_rate is None else len(self._shown(self._frame_rate))

    def read(
        self, indices: Iterable[int] | None = None, *, peek: bool = False
    ) -> Iterator[tuple[int, Frame]]:
        """Frames by number.

        Args:
            indices: 0-based frames at the asked rate, in any order; None is all of them.
            peek: see whether there is a frame behind the last one; if not, `num_frames` is known.

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
            yield from self._own_frames(wanted, peek)
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

    def _own_frames(
        self, wanted: list[int] | None, peek: bool = False
    ) -> Iterator[tuple[int, Frame]]:
        """Frames at the video's own rate; ascending numbers, or all."""
        given = 0
        if wanted is not None and _DENSE * len(wanted) <= wanted[-1]:
            try:
                for number, frame in self._sought(wanted):
                    yield number, frame
                    given += 1
                return
            except Distrust:
                self._check_unchanged()
        yield from self._read_through(wanted if wanted is None else wanted[given:], peek)

    def _read_through(
        self, wanted: list[int] | None, peek: bool = False
    ) -> Iterator[tuple[int, Frame]]:
        """All frames up to the last wanted one are decoded, the wanted ones converted."""
        asked = itertools.count() if wanted is None else iter(wanted)
        due = next(asked, None)
        end = 0
        with open_video(self.path) as (container, stream):
            self.pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
            pictures = numbered_frames(container, stream)
            for number, picture in pictures:
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
                        # Nothing is decoded for this where the last frame was wanted.
                        self._count = end if peek and next(pictures, None) is None else 0
                        break
        self._check_unchanged()
        if due is not None and (wanted is not None or end == 0):
            raise VideoError(self._too_short(end, due))

    def _sought(self, wanted: list[int]) -> Iterator[tuple[int, Frame]]:
        """The wanted frames from the packets at which decoding may begin before them.

        Raises:
            Distrust: the index cannot be trusted, packets or frames are not where it says, or one
                is damaged.
        """
        import av

        with open_video(self.path) as (container, stream):
            # What a decoder puts in place of damage may depend on all that it saw before.
            stream.codec_context.options = {"err_detect": "+explode"}
            self.pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
            index = index_of(self.path, self._index_folder, (container, stream))
            if not index.why_counted and wanted[-1] >= len(index.order):
                raise VideoError(self._too_short(len(index.order), wanted[-1]))
            if index.why_read_through:
                raise Distrust
            unused = index.unused
            packets: Iterator[Packet[Any]] = iter(())  # it may have been read to its end
            position = -_READ_ON
            for stretch in stretches(index, wanted):
                if stretch.first - position >= _READ_ON:
                    packets, position = seek(container, stream, index, stretch.first)
                frames = OrderedFrames(index, stretch, self._display)
                for packet in packets:
                    if position >= stretch.first and (
                        position in stretch.frames or not unused[position]
                    ):
                        check_same(index, position, packet)
                        try:
                            frames.take(decoded(stream, packet))
                        except av.error.FFmpegError as error:
                            raise Distrust from error
                    position += 1
                    if position > stretch.last:
                        break
                if position <= stretch.last:
                    raise Distrust
                yield from frames.ready()
                if frames.missing:
                    frames.take(decoded(stream, None))
                    yield from frames.ready()
                    stream.codec_context.flush_buffers()
                if frames.missing:
                    raise Distrust
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
