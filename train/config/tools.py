"""The commands that are tools: they read and write files, and are no runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adafocus_env import limits
from train.config.command import command
from train.config.keys import key, path
from train.config.learning import AlgorithmSection, SkipCostSection
from train.config.own_clips import AnnotationsSection, UnlabelledSection
from train.config.sections import (
    PIXELS,
    ClassesSection,
    DeviceSection,
    FitSection,
    FrameRateSection,
    NewNetworksSection,
    ResumeSection,
    Section,
    VideosSection,
    WorkersSection,
)


@command(
    "make-videos",
    "train.data_tools.make_videos:run_make_videos",
    "write the built-in videos as mp4 files with their list files",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class MakeVideosConfig(WorkersSection):
    """The videos."""

    data_dir: str | None = path("FOLDER", "where to; null: outputs/glyphs")


@dataclass(frozen=True, kw_only=True)
class FilesSection(Section):
    """What is read and written."""

    source: str | None = path("FILE|FOLDER", "what to read")
    target: str | None = path("FOLDER|FILE", "where to write")


@command(
    "extract-frames",
    "train.data_tools.extract_frames:run_extract_frames",
    "write the frames of videos as JPEG folders, as the published code reads them",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class ExtractFramesConfig(FilesSection, FrameRateSection, WorkersSection):
    """The frames."""

    height: int | str | None = key(
        360,
        "height of the frames in pixels, or none: as they are",
        written="N|none",
        **PIXELS,
    )


@command(
    "make-lists",
    "train.data_tools.make_lists.command:run_make_lists",
    "write the list files of your own clips, from class folders or others' annotations",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class MakeListsConfig(FilesSection, AnnotationsSection, FrameRateSection, WorkersSection):
    """The lists."""


@command(
    "check-data",
    "train.data_tools.check_data:run_check_data",
    "look for everything in a data set that would break training",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class CheckDataConfig(VideosSection, WorkersSection):
    """The data set."""

    copies: bool = key(
        False, "also look for videos of equal content in several splits; reads all that may be"
    )


@command(
    "convert",
    "train.checkpoints.convert:run_convert",
    "read a published checkpoint, or write one",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class ConvertConfig(FilesSection, ClassesSection, NewNetworksSection):
    """The checkpoint."""

    format: Literal["ours", "published"] = key(
        "ours", "what to write: safetensors and JSON, or a published .pth.tar"
    )


@command(
    "flops",
    "train.evaluation.flops:run_flops",
    "multiply-adds per video of any configuration, by part",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class FlopsConfig(NewNetworksSection, AlgorithmSection, ClassesSection):
    """The networks."""


@command(
    "check-bank",
    "train.data_tools.check_bank:run_check_bank",
    "compare the files of a bank with their checksums",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class CheckBankConfig(Section):
    """The bank."""

    source: str | None = path("FOLDER", "the bank's folder; all splits in it are checked")


@command(
    "predict",
    "train.evaluation.predict:run_predict",
    "name what videos show that nobody has labelled",
    kind="tool",
)
@dataclass(frozen=True, kw_only=True)
class PredictConfig(
    UnlabelledSection, ResumeSection, FitSection, FrameRateSection, SkipCostSection, DeviceSection
):
    """The answers."""

    fps: float = key(2.5, "frames a second", at_least=0.01, at_most=limits.FRAME_RATE)
