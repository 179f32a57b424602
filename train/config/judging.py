"""Keys of evaluation: the split, the policies, how they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from train.config.keys import ConfigError, key, path
from train.config.learning import BatchSection, CrossFitSection, MetricsSection, PlayedSection
from train.config.sections import PolicySection, ResumeSection, Section


@dataclass(frozen=True, kw_only=True)
class SplitSection(Section):
    """Which videos."""

    split: Literal["train", "val", "test"] = key(
        "test", "of the videos; val for the published data sets, which have no other"
    )


@dataclass(frozen=True, kw_only=True)
class JudgingSection(
    ResumeSection, PolicySection, BatchSection, SplitSection, PlayedSection, CrossFitSection
):
    """Policies on a split."""

    halves: tuple[str, ...] | None = key(
        None,
        "of cross_oracle: two runs of stage 1, each on the training videos that the other one "
        "leaves out",
        written="[RUN,RUN]",
    )

    def _check(self) -> None:
        if self.halves is not None and len(self.halves) != 2:
            raise ConfigError(f"halves={list(self.halves)} must be two runs of stage 1")


@dataclass(frozen=True, kw_only=True)
class ScoringSection(JudgingSection, MetricsSection):
    """How policies are judged."""

    draws: int = key(1, "times a stochastic policy plays each video", at_least=1)


@dataclass(frozen=True, kw_only=True)
class ComparisonSection(JudgingSection):
    """Which policies are compared."""

    policies: tuple[str, ...] = key(
        ("random", "center", "learned", "greedy_oracle"),
        "baseline agents by name, and learned, the policy in resume= or policy=; also "
        "random_offsets, fixed:ACTION, best_fixed, motion, full_frame:SIZE, sweep, saliency, "
        "beam_oracle:WIDTH, cross_oracle, and with dataset=glyphs_search expert, random_discs; "
        "NAME:RUN, several "
        "times for several seeds; NAME@0.05:RUN or learned@0.05, told that a look costs 0.05; "
        "random_skip:AMOUNT:POLICY and uniform_skip:AMOUNT:POLICY: POLICY's looks in some frames, "
        "chosen blindly: a rate (uniform_skip: frames of a video), or as many as policy AMOUNT "
        "keeps; env=active, until:BELIEF:POLICY: POLICY's looks until the largest belief is BELIEF",
    )
    runs: Mapping[str, str] | str | tuple[str, ...] | None = path(
        "{NAME: RUN,...}|FOLDER|[FOLDER,...]",
        "{policy: its stage-3 run, ...}: their own classifiers; or a folder, or a list of them, "
        "with the stage-2 runs of a sweep, for learned, by algorithm",
    )
