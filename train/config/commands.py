"""The commands that are runs, and the keys of each: its own, and where the others come from."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import train.config.tools  # noqa: F401  # those that are tools are commands, too
from adafocus_env import limits
from train.config.command import COMMANDS as COMMANDS
from train.config.command import command
from train.config.judging import (
    ComparisonSection,
    ScoringSection,
    SplitSection,
)
from train.config.keys import ConfigError, Key, key, path, recipe
from train.config.learning import (
    AlgorithmSection,
    BackbonesSection,
    ClassifierSection,
    CrossFitSection,
    FeaturesSection,
    GridSection,
    LooksSection,
    PlayedSection,
    PolicyFramesSection,
    PretrainedSection,
    ScheduleSection,
    SelectSection,
    SkipCostSection,
)
from train.config.sections import (
    FRAMES,
    ClassesSection,
    PolicySection,
    RecognizerSection,
    ResumeSection,
    VideosSection,
    WorkersSection,
)


@command(
    "demo",
    "train.demo:run_demo",
    "make videos, train all four stages, benchmark: the whole thing on built-in videos",
    kind="parts",
    parts=("stage0", "stage1", "bank", "stage2", "stage3", "benchmark"),
    sets=(
        *("resume", "recognizer", "policy", "trust", "runs", "features", "bank_device", "target"),
        *("pretrain_glancer", "pretrained_glancer", "pretrained_focuser"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class DemoConfig(ClassesSection):
    """The demo."""

    ship: bool = key(False, "also write the stage-1 recognizer into the package's assets")


@command(
    "run",
    "train.pipeline.run:run_all_stages",
    "your own clips: a bank, stages 1 to 3, the comparison, cross-validated; experiment=small",
    kind="parts",
    parts=("bank", "stage1", "stage2", "stage3", "benchmark"),
    sets=(
        *("resume", "recognizer", "policy", "trust", "runs", "features", "bank_device", "split"),
        *("cross_fit", "halves", "policies", "views", "policy_frames", "augment", "backbone_lr"),
        *("train_gap", "conditional_exit", "skip_rate", "skip_cost", "locations"),
        *("amp", "compile", "crops", "train_sampling", "observation", "reward"),
        *("baseline_positions",),
    ),
)
@dataclass(frozen=True, kw_only=True)
class RunAllConfig(VideosSection, WorkersSection):
    """All stages on a user's own clips."""

    folds: int | None = key(
        5,
        "parts of all clips, each tested by what the others teach; null: the lists' own split",
        at_least=2,
    )
    inner_folds: int = key(
        4,
        "parts of the training clips: they judge each other in rewards, and say how long to train",
        at_least=2,
    )
    groups: str | None = path(
        "FILE",
        "lines of 'path group': clips of a person or a source video, which are never parted; null: "
        "groups.txt beside the lists, if it is there",
    )


@command(
    "stage0",
    "train.stages.stage0_backbones:run_stage0",
    "fine-tune the glancer or the focuser on whole frames",
    processes=True,
)
@dataclass(frozen=True, kw_only=True)
class Stage0Config(ResumeSection, BackbonesSection):
    """Stage 0."""

    pretrain_glancer: bool = key(True, "true trains the glancer, false the focuser")
    glancer_frames: int | None = recipe("frames of a clip trained on; null is all", **FRAMES)
    focuser_frames: int | None = recipe("likewise for the focuser", **FRAMES)

    @property
    def trained(self) -> str:
        """The part that learns."""
        return "glancer" if self.pretrain_glancer else "focuser"

    @property
    def pretrained(self) -> str | None:
        """Where its first weights are."""
        return self.pretrained_glancer if self.pretrain_glancer else self.pretrained_focuser

    def _check(self) -> None:
        # An experiment may name both, for the stages that follow.
        given = self.pretrained_glancer or self.pretrained_focuser
        if given is not None and self.pretrained is None:
            one, other = self.trained, "focuser" if self.pretrain_glancer else "glancer"
            true, false = ("true", "false") if self.pretrain_glancer else ("false", "true")
            raise ConfigError(
                f"pretrain_glancer={true} trains the {one}, and pretrained_{other}={given} is for "
                f"pretrain_glancer={false}; set that, or name pretrained_{one}= instead"
            )


@command(
    "stage1",
    "train.stages.stage1_random_patches:run_stage1",
    "train focuser and classifier on random patches",
    processes=True,
)
@dataclass(frozen=True, kw_only=True)
class Stage1Config(
    ResumeSection, BackbonesSection, ClassifierSection, LooksSection, GridSection, FeaturesSection
):
    """Stage 1."""

    patch_positions: Literal["pixel", "grid"] = key(
        "pixel", "where the random patches lie: anywhere, as published, or on the grid"
    )

    def _check(self) -> None:
        if self.looks_per_frame > 1 and self.family != "recurrent":
            raise ConfigError(
                f"looks_per_frame={self.looks_per_frame} is for family=recurrent: with "
                "temporal shift a decision serves several frames"
            )


@command(
    "stage2",
    "train.stages.stage2_policy:run_stage2",
    "train the policy by reinforcement learning",
    processes=True,
)
@dataclass(frozen=True, kw_only=True)
class Stage2Config(
    RecognizerSection,
    AlgorithmSection,
    ScheduleSection,
    PlayedSection,
    CrossFitSection,
    PolicyFramesSection,
    PolicySection,
):
    """Stage 2."""

    imitate: str | None = key(
        None,
        "env=active, algo=gru_ppo: first learn to repeat the looks of an agent that does not "
        "learn, such as expert or greedy_oracle",
        written="NAME",
    )
    imitate_epochs: int = key(5, "length of that, before epochs= of training", at_least=1)
    video_freq: int = key(
        20,
        "epochs between videos of an episode in TensorBoard; 0: none",
        at_least=0,
        identity="nothing",
    )

    def _check(self) -> None:
        if self.env == "active" and self.policy is not None:
            raise ConfigError("stage2 starts from policy=RUN with env=patch only")
        if self.env != "active" and self.imitate is not None:
            raise ConfigError(f"imitate={self.imitate} is for the closed loop: env=active")
        if self.skip_cost is not None and self.locations != "skip":
            raise ConfigError(
                f"skip_cost={self.skip_cost} is for policies that skip: locations=skip"
            )


@command(
    "tune",
    "train.tune.search:run_tune",
    "search an algorithm's main parameters for stage2; an interrupted search goes on",
    kind="parts",
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


@command(
    "stage3",
    "train.stages.stage3_classifier:run_stage3",
    "fine-tune the classifier on the patches of a policy",
    processes=True,
)
@dataclass(frozen=True, kw_only=True)
class Stage3Config(
    RecognizerSection,
    PolicySection,
    ClassifierSection,
    SkipCostSection,
    GridSection,
    FeaturesSection,
):
    """Stage 3."""

    classifier_dropout: float | None = recipe("null is as in stage 1", at_least=0, below=1)


@command(
    "bank",
    "train.data_tools.make_bank:run_bank",
    "compute a split's features once, for stage2, stage3, evaluate and benchmark",
    processes=True,
)
@dataclass(frozen=True, kw_only=True)
class BankConfig(ResumeSection, SplitSection, GridSection, PolicyFramesSection, PretrainedSection):
    """The bank."""

    target: str | None = path(
        "FOLDER",
        "the bank goes to FOLDER/SPLIT: one folder for all splits",
    )
    views: int = key(1, "clips of each training video; an episode shows one of them", at_least=1)


@command(
    "evaluate",
    "train.evaluation.evaluate:run_evaluate",
    "judge one policy with one recognizer by the published protocol",
)
@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ScoringSection):
    """One policy."""

    reward: str | None = None


@command(
    "benchmark",
    "train.evaluation.benchmark:run_benchmark",
    "compare policies, each with its own classifier and all with the same",
)
@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(ComparisonSection, ScoringSection, SelectSection):
    """The benchmark."""

    draws: int = 4
    train_gap: bool = key(False, "also judge on the training split; costs a pass over it")
    conditional_exit: bool = key(
        False,
        "accuracy by budget: stop where the answer is certain; costs a pass over the training "
        "split, too",
    )
    player_videos: tuple[int, ...] | None = key(
        None, "videos in the report's player, such as [0,5]; null: 12 of them", at_least=0
    )


@command(
    "record",
    "train.evaluation.record:run_record",
    "write videos with the looks of policies side by side, as mp4 or GIF",
)
@dataclass(frozen=True, kw_only=True)
class RecordConfig(ComparisonSection):
    """The recording."""

    videos: tuple[int, ...] | int | None = key(
        None,
        "which of the split, such as [0,3], or how many; null: 4",
        written="[N,...]|N",
        at_least=0,
    )
    output: str | None = path(
        "FILE.mp4|FILE.gif",
        "null: record.mp4 in the run folder",
        identity="nothing",
    )
    fps: float = key(2.5, "frames a second", at_least=0.01, at_most=limits.FRAME_RATE)
    reward: str | None = None


# Every key by name, as each command that uses it declares it.
ALL_KEYS: dict[str, dict[str, Key]] = {}
for _name, _command in COMMANDS.items():
    for _key in _command.keys.values():
        ALL_KEYS.setdefault(_key.name, {})[_name] = _key

# Keys whose default is the command's own, so that null in the files stands for it.
OF_COMMAND = {
    name for name, keys in ALL_KEYS.items() if len({one.default for one in keys.values()}) > 1
}


def unknown_key(name: str, known: Collection[str] = ALL_KEYS) -> str:
    """The message about a key that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean {near[0]}=?" if near else "; adafocus COMMAND --help lists the keys"
    return f"unknown configuration key {name!r}{hint}"
