"""From a decoded picture to RGB as a player shows it, by one conversion."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import VideoError
from adafocus_env.files import first_line

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Frame = npt.NDArray[np.uint8]

# Part of a bank's identity: another conversion gives other pixels, so it gets another name.
CONVERSION = "pyav-1: swscale bicubic; matrix and range of the file, else BT.601 limited"

_ONE = 1 << 16  # of a display matrix
_ALMOST = 0.01  # as much may an entry of a turned matrix differ from 0 or 1


class DisplayConversion:
    """Converts the pictures of one video to RGB, upright and not mirrored.

    Colours: libswscale with bicubic chroma and one thread, by the matrix and range that the picture
    names; where it names none BT.601 and limited range, as FFmpeg and OpenCV take them. Brightness
    of HDR video is not mapped. Both fields of an interlaced picture are shown, woven, as most
    players do; its colours are converted field by field. The display matrix is followed where it
    turns by quarters and mirrors. Pixels that are not square stay as they are stored.

    Args:
        path: of the video, for messages.
    """

    def __init__(self, path: Path):
        from av.video.reformatter import VideoReformatter

        self._path = path
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Frame:
        """The `(H, W, 3)` uint8 RGB picture, a new array.

        Raises:
            VideoError: the conversion fails, or the matrix turns by no quarter.
        """
        import av
        from av.video.reformatter import Interpolation

        try:
            converted = self._reformatter.reformat(
                frame, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1
            )
            picture: Frame = np.asarray(converted.to_ndarray(), dtype=np.uint8)
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoError(
                f"{self._path}: a frame of {frame.width}x{frame.height} {frame.format.name} cannot "
                f"be converted to RGB ({first_line(error)}); write the video anew as H.264"
            ) from error
        matrix = _display_matrix(frame)
        return np.ascontiguousarray(picture if matrix is None else self._shown(picture, matrix))

    def _shown(self, picture: Frame, matrix: tuple[float, float, float, float]) -> Frame:
        """Where a pixel (x, y) goes: (a x + c y, b x + d y), moved into the picture."""
        a, b, c, d = matrix
        if abs(b) < _ALMOST and abs(c) < _ALMOST and a and d:
            return picture[:: int(math.copysign(1, d)), :: int(math.copysign(1, a))]
        if abs(a) < _ALMOST and abs(d) < _ALMOST and b and c:
            turned = picture.transpose(1, 0, 2)
            return turned[:: int(math.copysign(1, b)), :: int(math.copysign(1, c))]
        raise VideoError(
            f"{self._path}: its display matrix turns it by {math.degrees(math.atan2(b, a)):.0f} "
            "degrees, which is no quarter turn; write the video anew, upright"
        )


def _display_matrix(frame: VideoFrame) -> tuple[float, float, float, float] | None:
    """a, b, c, d of the matrix that comes with a picture; None for none."""
    side_data: Any = frame.side_data
    found = side_data.get("DISPLAYMATRIX") if len(side_data) else None
    if found is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5] / _ONE
    return float(a), float(b), float(c), float(d)
