"""Videos as labelled clips: built-in ones, and files on disk."""

from adafocus_env.data.catalog import DATASETS, VideoLists, VideoOptions, open_videos
from adafocus_env.data.clips import Clip, Videos
from adafocus_env.data.glyphs import GlyphVideos
from adafocus_env.data.video_files import ListFileError, VideoError, VideoFiles

__all__ = [
    "DATASETS",
    "Clip",
    "GlyphVideos",
    "ListFileError",
    "VideoError",
    "VideoFiles",
    "VideoLists",
    "VideoOptions",
    "Videos",
    "open_videos",
]
