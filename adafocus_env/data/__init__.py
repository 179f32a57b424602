"""Videos as labelled clips: built-in ones, and those on disk as video files or extracted frames."""

from adafocus_env.data.catalog import VideoOptions, open_videos
from adafocus_env.data.clips import Clip, VideoError, Videos
from adafocus_env.data.data_files import BUILT_IN, DATASETS, DataFiles, VideoLists, find_files
from adafocus_env.data.glyphs import GlyphVideos
from adafocus_env.data.list_files import ListFileError
from adafocus_env.data.listed_videos import ListedVideos

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
