"""Data sets by name: where their lists, class file and videos lie below `data_dir`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adafocus_env.data.clips import Videos
from adafocus_env.data.glyphs import FRAME_SIZE, GlyphVideos
from adafocus_env.data.transforms import ClipTransform
from adafocus_env.data.video_files import ListFileError, VideoFiles, read_class_file, read_list_file

TARGETS_FILE = "{split}_targets.npy"


@dataclass(frozen=True)
class VideoLists:
    """The files of a data set of one's own, relative to `data_dir`.

    Attributes:
        list_file: one video a line, `path,frames,label`; `{split}` stands for the split's name.
        class_file: one class name a line.
        video_dir: folder that the paths in the lists are relative to.
        separator: between the columns of the list.
    """

    list_file: str = "{split}.txt"
    class_file: str = "classes.txt"
    video_dir: str = "videos"
    separator: str = ","


@dataclass(frozen=True)
class VideoOptions:
    """How clips are made from videos.

    Attributes:
        num_frames: T, frames of a clip.
        frame_size: side of the square frames in pixels.
        augment: random frames, crops and flips (training) instead of centred ones (evaluation).
        crop: crop and resize to `frame_size`; False where the videos have that size already.
        flip: mirror half of the clips when augmenting.
        keep_decoded: keep decoded videos in memory.
    """

    num_frames: int
    frame_size: int
    augment: bool = False
    crop: bool = True
    flip: bool = True
    keep_decoded: bool = False

    def __post_init__(self) -> None:
        """Refuse clips without frames."""
        if self.num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, not {self.num_frames}")


DATASETS = ("glyphs", "videos")


def open_videos(
    dataset: str,
    split: str,
    options: VideoOptions,
    *,
    data_dir: str | Path | None = None,
    lists: VideoLists | None = None,
) -> Videos:
    """Open a split of a data set.

    Args:
        dataset: `"glyphs"`, the built-in videos; or `"videos"`, video files named by list files.
            With `data_dir` the built-in videos are read from the files that `adafocus make-videos`
            wrote there.
        split: `"train"`, `"val"` or `"test"`.
        options: how clips are made.
        data_dir: folder of the lists; needed for `"videos"`.
        lists: file names below `data_dir`.

    Raises:
        ValueError: unknown data set, or no `data_dir` where one is needed.
        FileNotFoundError: a file of the data set is missing.
        ListFileError: a list or class file cannot be used.
    """
    if dataset not in DATASETS:
        raise ValueError(f"unknown dataset {dataset!r}; known are {', '.join(DATASETS)}")
    if dataset == "glyphs":
        # The built-in digits lose their meaning when mirrored, and have their size already.
        options = replace(options, crop=False, flip=False)
        if options.frame_size != FRAME_SIZE:
            raise ValueError(
                f"the built-in videos are {FRAME_SIZE} pixels wide but the recognizer takes "
                f"{options.frame_size}; use dataset=videos with your own videos"
            )
        if data_dir is None:
            sampling = "random" if options.augment else "center"
            return GlyphVideos(split, num_frames=options.num_frames, frame_sampling=sampling)
    if data_dir is None:
        raise ValueError(
            "dataset=videos needs data_dir=FOLDER with train.txt, val.txt, classes.txt and videos/"
        )
    return _open_lists(Path(data_dir), split, options, lists or VideoLists())


def _open_lists(data_dir: Path, split: str, options: VideoOptions, lists: VideoLists) -> VideoFiles:
    class_names = read_class_file(data_dir / lists.class_file)
    list_file = data_dir / lists.list_file.format(split=split)
    root = data_dir / lists.video_dir
    records = read_list_file(list_file, root, len(class_names), separator=lists.separator)
    targets_file = data_dir / TARGETS_FILE.format(split=split)
    # Positions are stored in the video's own pixels, so a crop would make them wrong.
    known = targets_file.is_file() and not options.crop
    targets = np.load(targets_file, allow_pickle=False) if known else None
    transform = ClipTransform(
        options.frame_size, augment=options.augment, flip=options.flip, crop=options.crop
    )
    try:
        return VideoFiles(
            records,
            class_names,
            num_frames=options.num_frames,
            transform=transform,
            frame_sampling="random" if options.augment else "center",
            target_centers=targets,
            keep_decoded=options.keep_decoded,
        )
    except ListFileError as error:
        raise ListFileError(f"{targets_file}: {error}") from error
