"""Videos as labelled clips: built-in ones, and those on disk as video files or extracted frames."""

from adafocus_env.data.catalog import VideoOptions, open_videos
from adafocus_env.data.clips import Clip, VideoError, Videos
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.data.lists.dataset_files import (
    BUILT_IN,
    DATASETS,
    DataFiles,
    VideoLists,
    find_files,
)
from adafocus_env.data.lists.list_files import ListFileError
from adafocus_env.data.lists.listed_videos import ListedVideos

__all__ = [
    "BUILT_IN",
    "DATASETS",
    "Clip",
    "DataFiles",
    "GlyphVideos",
    "ListFileError",
    "ListedVideos",
    "VideoError",
    "VideoLists",
    "VideoOptions",
    "Videos",
    "find_files",
    "open_videos",
]
