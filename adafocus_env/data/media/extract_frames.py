"""Write the frames of videos as folders of JPEG files, as the published code reads them.

A folder appears only when all its frames are in it: they are written into a hidden folder beside
it, which is renamed. So a run may be killed at any moment and started again.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.display import CONVERSION, Frame
from adafocus_env.data.media.frame_folders import IMAGE_TEMPLATE
from adafocus_env.data.media.stall import DECODE_TIMEOUT, watched
from adafocus_env.data.media.video_files import find_videos
from adafocus_env.files import differences, naming, read_json, write_json
from adafocus_env.folders import make_folder

RECORD_FILE = "extracted.json"
_UNFINISHED = ".extracting-"
_DISK_BLOCK = 4096
_CHECKED_AT = 1000  # frames of a video: then the room for the others is looked at
# Full colour resolution: at quality 95 the frames differ half as much from the video's (1.8 grey
# levels on the built-in videos, 3.3 with OpenCV's 4:2:0), and are a third larger.
_SUBSAMPLING = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclass(frozen=True)
class ExtractSettings:
    """How frames are written.

    Attributes:
        height: of the frames in pixels, the width keeps the aspect; None: as they are.
        frame_rate: frames a second; None: the video's own.
        quality: of the JPEG files, 1 to 100.
    """

    height: int | None = 360
    frame_rate: float | None = None
    quality: int = 95

    def record(self) -> dict[str, Any]:
        """What is written beside the frames, and compared when a run is started again."""
        return {
            **asdict(self),
            "subsampling": "4:4:4",
            "opencv": cv2.__version__,
            "decoder": CONVERSION,
        }


@dataclass(frozen=True)
class ExtractJob:
    """One video and the folder of its frames.

    Attributes:
        video: the file.
        folder: where its frames go.
        settings: how they are written.
        decode_timeout: seconds without a packet after which it is given up; None: never.
    """

    video: Path
    folder: Path
    settings: ExtractSettings
    decode_timeout: float | None = DECODE_TIMEOUT


@dataclass(frozen=True)
class Extracted:
    """What came of one video.

    Attributes:
        num_frames: written; 0 if it failed.
        num_bytes: that they take on disk.
        pixel_aspect: width of a pixel by its height, which frames are not stretched by.
        error: why it failed; None if it did not.
    """

    num_frames: int = 0
    num_bytes: int = 0
    pixel_aspect: Fraction = Fraction(1)
    error: str | None = None


@dataclass(frozen=True)
class ExtractPlan:
    """What is to be done.

    Attributes:
        jobs: one a video, by name.
        left_out: files below the source that are no videos, by name.
        outside: links that leave the source, by name: nothing of them is read.
    """

    jobs: list[ExtractJob]
    left_out: list[Path]
    outside: list[Path]


def plan_extraction(
    source: Path,
    target: Path,
    settings: ExtractSettings,
    decode_timeout: float | None = DECODE_TIMEOUT,
) -> ExtractPlan:
    """A job for each video below `source`: its folder is its path below `target`, no extension.

    What has a video's extension, or begins as a container does, is a video.

    Raises:
        ValueError: there is no video, or two would get the same folder or one inside the other's.
    """
    found = find_videos(source)
    if not found.videos and not found.outside:
        raise ValueError(f"{source} holds no videos; files of other kinds: {len(found.others)}")
    jobs = [
        ExtractJob(
            video, target / video.relative_to(source).with_suffix(""), settings, decode_timeout
        )
        for video in found.videos
    ]
    owners: dict[Path, Path] = {}
    for job in jobs:
        if job.folder in owners:
            raise ValueError(
                f"{owners[job.folder]} and {job.video} would both be extracted to {job.folder}; "
                "remove or rename one"
            )
        owners[job.folder] = job.video
    for job in jobs:
        for parent in job.folder.parents:
            if parent in owners:
                raise ValueError(
                    f"the frames of {job.video} would lie in {parent}, the folder of the frames of "
                    f"{owners[parent]}; rename one"
                )
    return ExtractPlan(jobs, found.others, found.outside)


def frames_extracted(job: ExtractJob) -> int | None:
    """How many frames an earlier run extracted from this video; None if it did not.

    Raises:
        ValueError: the folder was made with other settings, or by something else.
    """
    if not job.folder.exists():
        return None
    try:
        record = read_json(job.folder / RECORD_FILE)
        num_frames = record.pop("num_frames", None)
        if type(num_frames) is not int or num_frames < 0:
            raise ValueError(f"num_frames={num_frames}")
    except (OSError, ValueError):
        raise ValueError(
            f"{job.folder} exists but holds no {RECORD_FILE} of this command: it was made by "
            "something else; remove it or name another target="
        ) from None
    different = differences(record, job.settings.record())
    if different:
        raise ValueError(
            f"{job.folder} was extracted with other settings ({'; '.join(different)}); name "
            "another target= or remove it"
        )
    return num_frames


def remove_unfinished(jobs: list[ExtractJob]) -> None:
    """Remove what a killed run left behind where the folders of these jobs will be."""
    for parent in {job.folder.parent for job in jobs}:
        for left_over in parent.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left_over)


def extract_video(job: ExtractJob) -> Extracted:
    """Decode a video and write its frames; no folder is left of a video that cannot be decoded.

    Raises:
        OSError: the frames cannot be written.
    """
    part = job.folder.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}")
    make_folder(part)
    try:
        written = watched(job.video, job.decode_timeout, lambda: _write_frames(job, part))
        record = {**job.settings.record(), "num_frames": written.num_frames}
        write_json(part / RECORD_FILE, record)
        part.rename(job.folder)
    except (VideoError, cv2.error) as error:
        return Extracted(error=str(error))
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return written


def _write_frames(job: ExtractJob, folder: Path) -> Extracted:
    num_frames = num_bytes = 0
    quality = [cv2.IMWRITE_JPEG_QUALITY, job.settings.quality, *_SUBSAMPLING]
    video = VideoFile(job.video, job.settings.frame_rate)
    for index, frame in video.read():
        scaled = scale_to_height(frame, job.settings.height)
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR), quality)
        with naming(job.folder):
            (folder / IMAGE_TEMPLATE.format(index + 1)).write_bytes(jpeg.tobytes())
        num_frames += 1
        num_bytes += -(-len(jpeg) // _DISK_BLOCK) * _DISK_BLOCK
        if num_frames == _CHECKED_AT:
            _check_disk(job, folder, video.num_frames * num_bytes // num_frames - num_bytes)
    video.check_end()
    return Extracted(num_frames, num_bytes, video.pixel_aspect)


def _check_disk(job: ExtractJob, folder: Path, num_bytes: int) -> None:
    """Refuse a video whose frames would fill the disk, before they do.

    Raises:
        OSError: the rest needs more than there is.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise OSError(
            f"the frames of {job.video} will take {num_bytes / 1e9:.3g} GB more and "
            f"{free / 1e9:.3g} GB are free; name another target=, or a lower frame_rate= or height="
        )


def scale_to_height(frame: Frame, height: int | None) -> Frame:
    """The `(H, W, 3)` frame at another height; the width keeps the aspect, to the nearest pixel."""
    old_height, old_width = frame.shape[:2]
    if height in (None, old_height):
        return frame
    width = max(1, (2 * old_width * height + old_height) // (2 * old_height))
    # Averages when shrinking: ffmpeg's bicubic filter widens likewise, so nothing flickers.
    way = cv2.INTER_AREA if height < old_height else cv2.INTER_CUBIC
    scaled: Frame = cv2.resize(frame, (width, height), interpolation=way).astype("uint8")
    return scaled
