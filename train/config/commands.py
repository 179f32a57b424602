"""Each command's configuration: the sections it needs, the most used first."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from train.config.judging import (
    ComparisonSection,
    DrawsSection,
    JudgingSection,
    PoliciesSection,
    ReportSection,
    SplitSection,
)
from train.config.keys import ConfigError, Key, key, keys_of
from train.config.learning import (
    AlgorithmSection,
    BackbonesSection,
    ClassifierSection,
    EnvironmentSection,
    FeaturesSection,
    GridSection,
    PicturesSection,
    PlayedSection,
    PolicyFramesSection,
    ScheduleSection,
    SelectSection,
    SkipCostSection,
    SkipRateSection,
    SupervisedSection,
)
from train.config.sections import (
    ClassesSection,
    FrameRateSection,
    NetworksSection,
    PolicySection,
    PretrainedSection,
    RecognizerSection,
    ResumeSection,
    RunSection,
    Section,
    VideosSection,
    WorkersSection,
)


@dataclass(frozen=True, kw_only=True)
class Stage0Config(PretrainedSection, ResumeSection, SupervisedSection, BackbonesSection):
    """Stage 0."""

    pretrain_glancer: bool = key(True, "true trains the glancer, false the focuser")


@dataclass(frozen=True, kw_only=True)
class Stage1Config(PretrainedSection, ResumeSection, SupervisedSection, SkipRateSection):
    """Stage 1."""


@dataclass(frozen=True, kw_only=True)
class Stage2Config(
    RecognizerSection,
    AlgorithmSection,
    ScheduleSection,
    SelectSection,
    PlayedSection,
    PolicyFramesSection,
    PolicySection,
    PicturesSection,
):
    """Stage 2."""

    def _check(self) -> None:
        if self.skip_cost is not None and self.locations != "skip":
            raise ConfigError(
                f"skip_cost={self.skip_cost} is for policies that skip: locations=skip"
            )


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Stage2Config):
    """The search."""

    trials: int = key(
        20,
        "in all: the same command with the same output_dir makes the missing ones",
        at_least=1,
        identity="nothing",
    )
    search: Mapping[str, Any] | None = key(
        None, "values of your own, such as {gamma: [0.0,0.7]}; null leaves a parameter out"
    )
    pruner: Literal["median", "hyperband", "none"] = key(
        "median", "ends trials that are worse than earlier ones"
    )


@dataclass(frozen=True, kw_only=True)
class Stage3Config(
    RecognizerSection,
    PolicySection,
    SupervisedSection,
    ClassifierSection,
    SkipRateSection,
    SkipCostSection,
    GridSection,
    FeaturesSection,
):
    """Stage 3."""


@dataclass(frozen=True, kw_only=True)
class BankConfig(RecognizerSection, SplitSection, GridSection, PolicyFramesSection, RunSection):
    """The bank."""

    target: str | None = key(
        None,
        "the bank goes to FOLDER/SPLIT: one folder for all splits",
        form="FOLDER",
        is_path=True,
    )
    views: int = key(1, "clips of each training video; an episode shows one of them", at_least=1)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(JudgingSection):
    """One policy."""

    reward: str | None = key(
        None,
        "also measure rewards; by default none, at half the cost",
        form="random|expected|padding|prev|conf|skip",
    )
    draws: int = key(1, "times a stochastic policy plays each video", at_least=1)


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(ComparisonSection, JudgingSection, ReportSection, SelectSection):
    """The benchmark."""


@dataclass(frozen=True, kw_only=True)
class RecordConfig(ComparisonSection, JudgingSection):
    """The recording."""

    videos: tuple[int, ...] | int | None = key(
        None, "which of the split, such as [0,3], or how many; null: 4", form="[N,...]|N"
    )
    output: str | None = key(
        None,
        "null: record.mp4 in the run folder",
        form="FILE.mp4|FILE.gif",
        identity="nothing",
        is_path=True,
    )
    fps: float = key(2.5, "frames a second", above=0)
    reward: str | None = key(None, "of the oracles", form="random|expected|padding|prev|conf|skip")
    draws: int = key(1, "times a stochastic policy plays each video", at_least=1)


@dataclass(frozen=True, kw_only=True)
class DemoConfig(
    SupervisedSection,
    AlgorithmSection,
    EnvironmentSection,
    BackbonesSection,
    PolicyFramesSection,
    ClassifierSection,
    SkipRateSection,
    DrawsSection,
    PoliciesSection,
    ReportSection,
    PicturesSection,
):
    """The demo."""

    ship: bool = key(False, "also write the stage-1 recognizer into the package's assets")


@dataclass(frozen=True, kw_only=True)
class MakeVideosConfig(WorkersSection):
    """The videos."""

    data_dir: str | None = key(None, "where to; null: outputs/glyphs", form="FOLDER", is_path=True)


@dataclass(frozen=True, kw_only=True)
class FilesSection(Section):
    """What is read and written."""

    source: str | None = key(None, "what to read", form="FILE|FOLDER", is_path=True)
    target: str | None = key(None, "where to write", form="FOLDER|FILE", is_path=True)


@dataclass(frozen=True, kw_only=True)
class ExtractFramesConfig(FilesSection, FrameRateSection, WorkersSection):
    """The frames."""

    height: int | str | None = key(
        360, "height of the frames in pixels, or none: as they are", form="N|none"
    )


@dataclass(frozen=True, kw_only=True)
class CheckDataConfig(VideosSection, WorkersSection):
    """The data set."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(FilesSection, ClassesSection, NetworksSection):
    """The checkpoint."""

    format: Literal["ours", "published"] = key(
        "ours", "what to write: safetensors and JSON, or a published .pth.tar"
    )


@dataclass(frozen=True, kw_only=True)
class FlopsConfig(NetworksSection, AlgorithmSection, ClassesSection):
    """The networks."""


CONFIGS: dict[str, type[Section]] = {
    "demo": DemoConfig,
    "make-videos": MakeVideosConfig,
    "extract-frames": ExtractFramesConfig,
    "check-data": CheckDataConfig,
    "convert": ConvertConfig,
    "flops": FlopsConfig,
    "stage0": Stage0Config,
    "stage1": Stage1Config,
    "stage2": Stage2Config,
    "tune": TuneConfig,
    "stage3": Stage3Config,
    "bank": BankConfig,
    "evaluate": EvaluateConfig,
    "benchmark": BenchmarkConfig,
    "record": RecordConfig,
}

# Every key by name, as each command that uses it declares it.
ALL_KEYS: dict[str, dict[str, Key]] = {}
for _command, _config in CONFIGS.items():
    for _name, _key in keys_of(_config).items():
        ALL_KEYS.setdefault(_name, {})[_command] = _key

# Keys whose default is the command's own, so that null in the files stands for it.
OF_COMMAND = {
    name for name, keys in ALL_KEYS.items() if len({one.default for one in keys.values()}) > 1
}


def unknown_key(name: str, known: Collection[str] = ALL_KEYS) -> str:
    """The message about a key that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean {near[0]}=?" if near else "; adafocus COMMAND --help lists the keys"
    return f"unknown configuration key {name!r}{hint}"
