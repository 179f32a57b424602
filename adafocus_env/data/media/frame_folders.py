"""Frames of videos that were extracted before: a folder of JPEG files a video."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.container_heads import VIDEO_SUFFIXES
from adafocus_env.data.media.display import Frame
from adafocus_env.data.media.nearest import nearest
from adafocus_env.data.media.open_video import stays_inside
from adafocus_env.files import first_line, regular

IMAGE_TEMPLATE = "image_{:05d}.jpg"  # of every published data set; the first frame is 1
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_NAMES_READ = 100_000  # of a folder

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


class FrameFolderReader:
    """Reads the videos of a list from folders of images.

    Args:
        root: folder that no video may leave, without links.
        image_template: file name of a frame.
        first_frame: number of the first one.
    """

    def __init__(self, root: Path, image_template: str = IMAGE_TEMPLATE, first_frame: int = 1):
        self._root = root
        self._template = image_template
        self._first = first_frame

    def read(self, path: Path, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Frames of the video that a list calls `path`; see `listed_videos`."""
        folder = self.find(path)
        for index in sorted({int(i) for i in indices}):
            image = self.image(folder, index)
            try:
                frame = read_image(image)
            except FileNotFoundError:
                raise VideoError(self._missing(folder, image)) from None
            yield index, frame

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`."""
        numbering = {"first_frame": self._first} if self._first != 1 else {}
        template = {"image_template": self._template, **numbering}
        return {"media": "frames", **template, "decoder": "opencv"}

    def image(self, folder: Path, index: int) -> Path:
        """The file of 0-based frame `index`.

        Raises:
            VideoError: it is a link that leaves the data folder.
        """
        path = folder / self._template.format(index + self._first)
        return stays_inside(path, self._root) if path.is_symlink() else path

    def find(self, path: Path) -> Path:
        """The folder of a video: `path`, or `path` without the extension of a video file.

        Raises:
            VideoError: there is none, or a link leaves the data folder.
        """
        if path.is_dir():
            return stays_inside(path, self._root)
        stem = path.with_suffix("")
        if path.suffix.lower() in VIDEO_SUFFIXES and stem.is_dir():
            return stays_inside(stem, self._root)
        raise VideoError(
            f"{path}: no such folder of frames{nearest(path)}; 'adafocus extract-frames' makes it "
            "from the video"
        )

    def _missing(self, folder: Path, image: Path) -> str:
        """Why there is no such frame, as far as the other names in the folder say it."""
        zeroth = self._template.format(0)
        if self._first and (folder / zeroth).exists():
            return f"{image}: no such frame, but {zeroth} is there; set lists.first_frame=0"
        if not (folder / self._template.format(self._first)).exists():
            template = _template_of(folder)
            if template is not None:
                return (
                    f"{image}: no such frame; the names in its folder are like "
                    f"lists.image_template={template!r}"
                )
        return (
            f"{image}: no such frame; correct the frame count in the list file or extract the "
            "video's frames again"
        )


def _template_of(folder: Path) -> str | None:
    """The template of the first image in a folder by name; None where there is none."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in itertools.islice(entries, _NAMES_READ))
        images = [name for name in names if name.lower().endswith(_IMAGE_SUFFIXES)]
    numbered = re.fullmatch(r"(.*?)(\d+)(\.\w+)", min(images, default=""), re.ASCII)
    if numbered is None:
        return None
    prefix, digits, suffix = numbered.groups()
    return f"{prefix}{{:0{len(digits)}d}}{suffix}"


def read_image(path: Path) -> Frame:
    """One image file as `(H, W, 3)` uint8 RGB, as it is stored: rotation tags are not followed.

    (The published code opens images with PIL, which does not follow them either.)

    Raises:
        FileNotFoundError: no such file.
        VideoError: it cannot be read, is empty, broken off, or no image.
    """
    try:
        data = regular(path).read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    cure = "extract the video's frames again"
    if not data:
        raise VideoError(f"{path}: the file is empty; {cure}")
    # Some versions of OpenCV fill up what is missing with grey and say nothing.
    if data.startswith(_JPEG_START) and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
        raise VideoError(f"{path}: the JPEG file breaks off; {cure}")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise VideoError(
            f"{path}: OpenCV cannot decode this image ({first_line(error)}); {cure}"
        ) from error
    if image is None:
        raise VideoError(f"{path}: OpenCV cannot decode this image; {cure}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
