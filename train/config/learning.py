"""Keys of training: the supervised stages, the environment, the algorithm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from train.config.keys import ConfigError, key, path, recipe
from train.config.sections import (
    FRAMES,
    NewNetworksSection,
    PrecisionSection,
    RunSection,
    Section,
)


@dataclass(frozen=True)
class AlgoConfig:
    """Which RL algorithm trains the policy.

    Attributes:
        name: key of `agents.sb3.registry.ALGORITHMS`.
        preset: named set of arguments; None where the algorithm has none.
        arguments: constructor arguments that go before the preset's.
        class_path: the user's own class instead, from the command line or the user's own
            configuration; importing it runs code.
    """

    name: str
    preset: str | None
    arguments: Mapping[str, Any]
    class_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class BatchSection(Section):
    """Videos at a time."""

    batch_size: int | None = recipe(
        "videos an update, or at a time; where nothing is trained it changes no result", at_least=1
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleSection(BatchSection):
    """How long training takes."""

    epochs: int | None = recipe("length of training", at_least=1)
    eval_freq: int | None = recipe("epochs between evaluations on the validation split", at_least=1)
    save_freq: int = key(
        1,
        "epochs between what an interrupted run goes on from; more where an epoch takes no time",
        at_least=1,
        identity="nothing",
    )


@dataclass(frozen=True, kw_only=True)
class MetricsSection(Section):
    """How predictions are judged."""

    map_rule: Literal["standard", "published"] = key(
        "standard", "published: the published code's rule, with its shift where a class is absent"
    )
    map_labels: Literal["all", "first"] = key("all", "of a video's labels")


@dataclass(frozen=True, kw_only=True)
class SelectSection(MetricsSection):
    """Which weights are kept."""

    select_by: Literal["top1", "map", "confidence"] = key(
        "top1",
        "weights are chosen by it on the validation split; confidence: in the true class, mean "
        "over the frames",
    )


@dataclass(frozen=True, kw_only=True)
class SupervisedSection(ScheduleSection, SelectSection, PrecisionSection):
    """Supervised training. The experiment's recipe for the stage has most values."""

    optimizer: Literal["adamw", "sgd"] | None = recipe("of the weights")
    lr_type: Literal["onecycle", "cos", "step"] | None = recipe("how the rates change")
    lr_steps: tuple[int, ...] = key(
        (50, 100), "lr_type=step: epochs at which the rate falls to a tenth", at_least=1
    )
    momentum: float = key(0.9, "of optimizer=sgd", at_least=0, below=1)
    weight_decay: float = key(1e-4, "of the optimizer", at_least=0)
    max_grad_norm: float | None = recipe("longer gradients are cut; null: none", above=0)
    grad_accumulation: int = key(
        1, "parts into which a process splits its share of a batch", at_least=1
    )
    sync_batchnorm: bool = key(False, "BatchNorm statistics over all processes (GPUs only)")


@dataclass(frozen=True, kw_only=True)
class PretrainedSection(RunSection, NewNetworksSection):
    """New networks, and where their backbones come from."""

    pretrained_glancer: str | None = path(
        "RUN|FILE",
        "run folder of stage0 pretrain_glancer=true, or a published or torchvision file",
    )
    pretrained_focuser: str | None = path(
        "RUN|FILE",
        "run folder of stage0 pretrain_glancer=false, or such a file",
    )


@dataclass(frozen=True, kw_only=True)
class BackbonesSection(SupervisedSection, PretrainedSection):
    """Backbones that are trained."""

    backbone_lr: float | None = recipe(
        "learning rate of glancer and focuser; stage1, 0: the focuser stays as it is", at_least=0
    )


@dataclass(frozen=True, kw_only=True)
class ClassifierSection(SupervisedSection):
    """A classifier that is trained."""

    fc_lr: float | None = recipe("learning rate of the classifier", at_least=0)
    skip_rate: float | Literal["random"] | None = key(
        None,
        "share of the frames whose patch is left out, so that the classifier knows zeros; random: "
        "another for each clip",
        at_least=0,
        at_most=1,
    )


@dataclass(frozen=True, kw_only=True)
class GridSection(Section):
    """Positions of the grid."""

    action_dim: int = key(
        49, "positions of the grid: 16, 25, 36, 49, 64, 81 or 100", at_least=16, at_most=100
    )

    @property
    def grid_size(self) -> int:
        """G, from `action_dim` = G * G."""
        return math.isqrt(self.action_dim)

    def _check(self) -> None:
        if self.grid_size**2 != self.action_dim:
            raise ConfigError(f"action_dim={self.action_dim} is no square; 49 is a 7x7 grid")


@dataclass(frozen=True, kw_only=True)
class LooksSection(Section):
    """Decisions at a frame."""

    looks_per_frame: int = key(
        1, "patches of each frame, one after the other; a still picture has one frame", at_least=1
    )


@dataclass(frozen=True, kw_only=True)
class LocationsSection(GridSection):
    """Where patches may be."""

    locations: Literal["grid", "continuous", "skip"] = key(
        "grid",
        "continuous: any pixel (algo=gru_ppo, ppo, a2c, trpo); skip: the grid and an "
        "action that skips the frame (AdaFocus+; with reward=skip)",
    )


@dataclass(frozen=True, kw_only=True)
class LoopSection(LocationsSection, LooksSection):
    """Whether what was seen is observed."""

    env: Literal["patch", "active"] = key(
        "patch",
        "patch: glances alone are observed, so whole episodes are played at once; active: the "
        "closed loop, AdaFocus/ActiveVision-v0: also what the last patch showed and what is "
        "believed (with reward=information)",
    )
    look_cost: float = key(0.0, "env=active: price of a look, in units of the reward", at_least=0)
    stop: bool = key(False, "env=active: one action more, which ends the episode")

    def _check(self) -> None:
        if self.env == "active":
            if self.locations == "skip" or (self.stop and self.locations != "grid"):
                raise ConfigError(
                    f"locations={self.locations} does not go with "
                    f"{'stop=true' if self.stop else 'env=active'}: use locations=grid"
                )
            return
        more = self.looks_per_frame > 1
        given = {"look_cost": self.look_cost > 0, "stop": self.stop, "looks_per_frame": more}
        wrong = [name for name, is_given in given.items() if is_given]
        if wrong:
            raise ConfigError(f"{wrong[0]}= is for the closed loop: env=active")


@dataclass(frozen=True, kw_only=True)
class SkipCostSection(Section):
    """What a look costs a policy that may skip frames."""

    skip_cost: float | Literal["random"] | None = key(
        None,
        "stage2 locations=skip: what a look costs in units of confidence (null: 0.05), or random: "
        "another in each episode, and the policy sees it; later: the cost told to such a policy",
        at_least=0,
    )


@dataclass(frozen=True, kw_only=True)
class FeaturesSection(Section):
    """Where the features of frames and patches come from."""

    features: str = key(
        "live",
        "run the networks, or use what 'adafocus bank target=PATH' stored; a bank holds grid "
        "positions only, so baseline_positions is grid then",
        written="live|bank:PATH",
        is_path=True,
    )
    bank_device: Literal["auto", "cpu", "cuda"] = key(
        "auto",
        "where the bank lies; auto: on the GPU if it takes at most 60 % of its free memory",
        identity="nothing",
    )

    def _check(self) -> None:
        kind, _, path = self.features.partition(":")
        if self.features != "live" and (kind != "bank" or not path):
            raise ConfigError(f"features={self.features} is unknown; known are live, bank:PATH")


@dataclass(frozen=True, kw_only=True)
class CrossFitSection(Section):
    """Who judges training videos."""

    cross_fit: tuple[str, ...] | None = key(
        None,
        "runs of stage 1 on parts of the training videos: each of these is judged by the first of "
        "them that has not learned from it; null: by the classifier of resume=",
        written="[RUN,...]",
    )


@dataclass(frozen=True, kw_only=True)
class PlayedSection(LoopSection, SkipCostSection, FeaturesSection, PrecisionSection):
    """The environment."""

    reward: str | None = key(
        "random",
        "what a look earns: its confidence less that of a random patch, of the mean of all, of no "
        "patch, of the step before, or of nothing; skip: less the cost of looks; information: the "
        "log of its confidence less that of the step before; evaluate, null: rewards are not "
        "measured, at half the cost; record: of the oracles",
        written="random|expected|padding|prev|conf|skip|information",
    )
    baseline_positions: str = key(
        "pixel", "where the patches of reward=random lie", written="pixel|grid"
    )
    compile: bool = key(False, "torch.compile for the frozen networks")

    @property
    def live_options(self) -> dict[str, Any]:
        """Of the environment's live features; `amp=auto` is for training alone."""
        return {
            "amp": "none" if self.amp == "auto" else self.amp,
            "compile": self.compile,
            "num_workers": self.num_workers,
        }


# What `observation=` is in the open loop; everything, where the loop is closed.
GLANCES = ("map", "vector")


@dataclass(frozen=True, kw_only=True)
class AlgorithmSection(LocationsSection):
    """The algorithm and what it sees."""

    algo: AlgoConfig = key(
        help="algo.preset=demo|paper|small|tuned|loop: a set of gru_ppo's arguments; "
        "algo.learning_rate=1e-3 ...: any argument of the algorithm; algo.class_path=pkg.Class: "
        "one of your own",
        written="NAME",
    )
    observation: Literal["map", "vector"] | tuple[str, ...] | str = key(
        "map",
        "what the policy sees; vector: the map's mean over space, which replay buffers can afford; "
        "env=active: all of [glance,patch,origin,belief,progress], or those named",
        written="map|vector|[NAME,...]",
    )

    def _check(self) -> None:
        if getattr(self, "env", "patch") == "patch" and self.observation not in GLANCES:
            raise ConfigError(
                f"observation={self.observation} is unknown; known are map, vector; parts are "
                "named with env=active"
            )


@dataclass(frozen=True, kw_only=True)
class PolicyFramesSection(Section):
    """Training episodes."""

    policy_frames: int | None = recipe("frames of a training episode; null is num_frames", **FRAMES)
