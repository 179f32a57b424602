"""Data sets by name, opened as clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import Videos
from adafocus_env.data.glyphs.drawing import GlyphTask
from adafocus_env.data.glyphs.localization import GLYPHS
from adafocus_env.data.glyphs.memory import GLYPHS_MEMORY, GLYPHS_MEMORY_FLICKER
from adafocus_env.data.glyphs.order import GLYPHS_ORDER
from adafocus_env.data.glyphs.search import (
    GLYPHS_SEARCH,
    GLYPHS_SEARCH_DIGITS,
    GLYPHS_SEARCH_DISCS,
    GLYPHS_SEARCH_MARKS,
)
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.data.lists.dataset_files import (
    BUILT_IN,
    MEDIA,
    NEVER_MIRRORED,
    TARGETS_FILE,
    DataFiles,
    VideoLists,
    find_files,
)
from adafocus_env.data.lists.list_files import (
    SPLITS,
    ListFileError,
    read_class_file,
    read_list_file,
)
from adafocus_env.data.lists.listed_videos import CROPS, ListedVideos
from adafocus_env.data.media.stall import DECODE_TIMEOUT
from adafocus_env.data.sampling.segments import EVAL_SAMPLINGS, TRAIN_SAMPLINGS
from adafocus_env.data.transforms import FITS, ClipTransform

TASKS: dict[str, GlyphTask] = dict(
    zip(
        BUILT_IN,
        (
            *(GLYPHS, GLYPHS_MEMORY, GLYPHS_MEMORY_FLICKER, GLYPHS_ORDER),
            *(GLYPHS_SEARCH, GLYPHS_SEARCH_MARKS, GLYPHS_SEARCH_DISCS, GLYPHS_SEARCH_DIGITS),
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class VideoOptions:
    """How clips are made from videos.

    Attributes:
        num_frames: T, frames of a clip.
        num_glance_frames: frames of a clip for the glancer alone, chosen independently; None: it
            sees the T frames. With a number, the rules of `sampling/shift.py` choose frames.
        crops: `"same"`: all frames of a clip are cropped alike; `"independent"`: glance frames get
            a random crop of their own when augmenting, as published.
        frame_size: side of the square frames in pixels.
        augment: training: frames by `train_sampling`, random crops and flips; False: evaluation.
        crop: crop and resize to `frame_size`; False where the videos have that size already.
        fit: how frames that are not square become so, see `ClipTransform`.
        flip: mirror half of the clips when augmenting; never those of `NEVER_MIRRORED` data sets.
        keep_decoded: keep decoded or rendered videos in memory.
        media: `"frames"`: folders of images; `"videos"`: video files; None: as the data set is
            published, or else video files.
        frame_rate: frames a second to read video files at; None is each file's own rate. The frame
            counts in the lists are those at this rate.
        decode_timeout: seconds without a packet after which a video file is given up; None: never.
        index_folder: where indices of long video files are kept; None: nowhere.
        train_sampling: `"random"` or `"dense"`.
        eval_sampling: `"center"` (published validation), `"test"` or `"dense"`.
    """

    num_frames: int
    frame_size: int
    augment: bool = False
    crop: bool = True
    fit: str = "crop"
    flip: bool = True
    keep_decoded: bool = False
    media: str | None = None
    frame_rate: float | None = None
    decode_timeout: float | None = DECODE_TIMEOUT
    index_folder: Path | None = None
    train_sampling: str = "random"
    eval_sampling: str = "center"
    num_glance_frames: int | None = None
    crops: str = "same"

    def __post_init__(self) -> None:
        """Refuse clips without frames, and unknown names."""
        for name in ("num_frames", "num_glance_frames"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
        for name, known in (
            ("media", (*MEDIA, None)),
            ("train_sampling", TRAIN_SAMPLINGS),
            ("eval_sampling", EVAL_SAMPLINGS),
            ("crops", CROPS),
            ("fit", FITS),
        ):
            value = getattr(self, name)
            if value not in known:
                names = ", ".join(item for item in known if item)
                raise ValueError(f"unknown {name} {value!r}; known are {names}")
        if self.frame_rate is not None and not 0 < self.frame_rate < float("inf"):
            raise ValueError(f"frame_rate must be above 0, not {self.frame_rate}")

    @property
    def sampling(self) -> str:
        """The rule by which frames are chosen."""
        return self.train_sampling if self.augment else self.eval_sampling

    @property
    def transform(self) -> ClipTransform:
        """How frames are made from those of the videos."""
        return ClipTransform(
            self.frame_size, augment=self.augment, flip=self.flip, crop=self.crop, fit=self.fit
        )


def open_videos(
    dataset: str,
    split: str,
    options: VideoOptions,
    *,
    data_dir: str | Path | None = None,
    lists: Mapping[str, Any] | VideoLists | None = None,
) -> Videos:
    """Open a split of a data set.

    Args:
        dataset: `"glyphs"`, the built-in videos; `"glyphs_memory"`, those of the second built-in
            task, and `"glyphs_memory_flicker"`, those its recognizer learns from; `"glyphs_order"`,
            those in which the order of frames matters; `"glyphs_search"`, pictures in which one
            look says where the next must be, and `"glyphs_search_marks"`, `"glyphs_search_discs"`
            and `"glyphs_search_digits"`, those its recognizer learns from; `"actnet"`, `"fcvid"`,
            `"minik"`, `"sthsth_v1"` or `"sthsth_v2"` as prepared for the published code; or
            `"videos"`, videos named by list files of one's own. With `data_dir` those of `"glyphs"`
            are read from the files that `adafocus make-videos` wrote there.
        split: `"train"`, `"val"` or `"test"`.
        options: how clips are made.
        data_dir: folder of the lists; needed for all but the built-in videos.
        lists: file names below `data_dir` and form of the lists, where they differ from the data
            set's: some of the fields of `VideoLists`.

    Raises:
        ValueError: unknown data set, no `data_dir` where one is needed, options that do not fit.
        TypeError: `lists` has an unknown name.
        FileNotFoundError: a file of the data set is missing.
        ListFileError: a list or class file cannot be used.
    """
    if dataset in NEVER_MIRRORED:
        options = replace(options, flip=False)
    if dataset in TASKS:
        options = replace(options, crop=False)  # they have their size already
        side = TASKS[dataset].frame_size
        if options.frame_size != side:
            raise ValueError(
                f"the videos of dataset={dataset} are {side} pixels wide but the recognizer takes "
                f"{options.frame_size}; use dataset=videos with your own videos"
            )
        if data_dir is None:
            if options.media == "frames" or options.frame_rate is not None:
                raise ValueError(
                    "media and frame_rate are for videos on disk; write the built-in ones with "
                    "'adafocus make-videos' and name their folder with data_dir="
                )
            return GlyphVideos(
                split,
                num_frames=options.num_frames,
                num_glance_frames=options.num_glance_frames,
                frame_sampling=options.sampling,
                task=TASKS[dataset],
                keep=options.keep_decoded,
            )
    files = find_files(
        dataset,
        data_dir=data_dir,
        lists=lists,
        media=options.media,
        frame_rate=options.frame_rate,
        decode_timeout=options.decode_timeout,
        index_folder=options.index_folder,
    )
    return _open_files(files, split, options)


def _open_files(files: DataFiles, split: str, options: VideoOptions) -> ListedVideos:
    lists = files.lists
    class_names = read_class_file(files.class_file, num_classes=lists.num_classes)
    list_file = files.list_file(split)
    others = [other for other in SPLITS if files.list_file(other).is_file()]
    if others and split not in others:
        raise FileNotFoundError(
            f"list file {list_file} does not exist; of {files.data_dir} there are the splits "
            f"{', '.join(others)} (split={others[-1]})"
        )
    records = read_list_file(list_file, files.root, len(class_names), lists.list_format)
    if not files.root.is_dir():
        other = "videos" if files.media == "frames" else "frames"
        raise FileNotFoundError(
            f"{files.root} does not exist; it holds the data set's {files.media}; if you have "
            f"{other}, say media={other}"
        )
    targets_file = files.data_dir / TARGETS_FILE.format(split=split)
    # Positions are stored in the video's own pixels, so a crop would make them wrong.
    known = targets_file.is_file() and not options.crop
    targets = _read_targets(targets_file) if known else None
    transform = options.transform
    try:
        return ListedVideos(
            records,
            class_names,
            files.reader(),
            num_frames=options.num_frames,
            num_glance_frames=options.num_glance_frames,
            crops=options.crops,
            transform=transform,
            frame_sampling=options.sampling,
            target_centers=targets,
            keep_decoded=options.keep_decoded,
        )
    except ListFileError as error:
        raise ListFileError(f"{targets_file}: {error}") from error


def _read_targets(path: Path) -> npt.NDArray[np.float32]:
    """Positions that `make-videos` wrote, `(V, frames, 2)` (row, column) pixels.

    Raises:
        ListFileError: the file is damaged, or holds something else.
    """
    try:
        # Mapped, so that a size that is not there is found at once.
        targets = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        raise ListFileError(
            f"{path}: no file of positions, damaged or cut ({type(error).__name__}); delete it, or "
            "make the videos again"
        ) from error
    is_array = isinstance(targets, np.ndarray) and targets.dtype.kind == "f"
    if not is_array or targets.shape[2:] != (2,):
        raise ListFileError(f"{path}: it holds no positions; delete it, or make the videos again")
    return np.array(targets, dtype=np.float32)
