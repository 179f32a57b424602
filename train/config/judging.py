"""Keys of evaluation: the split, the policies, what is shown of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from train.config.keys import key
from train.config.learning import BatchSection, MetricsSection, PlayedSection
from train.config.sections import PolicySection, ResumeSection, Section


@dataclass(frozen=True, kw_only=True)
class SplitSection(Section):
    """Which videos."""

    split: Literal["train", "val", "test"] = key(
        "test", "of the videos; val for the published data sets, which have no other"
    )


@dataclass(frozen=True, kw_only=True)
class DrawsSection(BatchSection, MetricsSection, SplitSection):
    """How policies are judged."""

    draws: int = key(4, "times a stochastic policy plays each video", at_least=1)


@dataclass(frozen=True, kw_only=True)
class JudgingSection(ResumeSection, PolicySection, DrawsSection, PlayedSection):
    """Policies on a split."""


@dataclass(frozen=True, kw_only=True)
class PoliciesSection(Section):
    """Which policies are compared."""

    policies: tuple[str, ...] = key(
        ("random", "center", "learned", "greedy_oracle"),
        "also random_offsets, fixed:ACTION, sweep, saliency, beam_oracle:WIDTH; NAME:RUN, several "
        "times for several seeds; NAME@0.05:RUN or learned@0.05, told that a look costs 0.05; "
        "random_skip:AMOUNT:POLICY and uniform_skip:AMOUNT:POLICY: POLICY's looks in some frames, "
        "chosen blindly: a rate (uniform_skip: frames of a video), or as many as policy AMOUNT "
        "keeps",
    )


@dataclass(frozen=True, kw_only=True)
class ComparisonSection(PoliciesSection, ResumeSection, PolicySection):
    """Policies that were learned."""

    runs: Mapping[str, str] | str | tuple[str, ...] | None = key(
        None,
        "{policy: its stage-3 run, ...}: their own classifiers; or a folder, or a list of them, "
        "with the stage-2 runs of a sweep, for learned, by algorithm",
        form="{NAME: RUN,...}|FOLDER|[FOLDER,...]",
        is_path=True,
    )


@dataclass(frozen=True, kw_only=True)
class ReportSection(Section):
    """What a benchmark tells beside its tables."""

    train_gap: bool = key(False, "also judge on the training split; costs a pass over it")
    conditional_exit: bool = key(
        False,
        "accuracy by budget: stop where the answer is certain; costs a pass over the training "
        "split, too",
    )
    player_videos: tuple[int, ...] | None = key(
        None, "videos in the report's player, such as [0,5]; null: 12 of them"
    )
