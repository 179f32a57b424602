"""The configuration as typed values, checked once; nothing below takes Hydra's `cfg`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adafocus_env.shipped import SHIPPED, shipped_recognizer
from train.config.types import ConfigError as ConfigError
from train.config.types import check_type

# The fields of `adafocus_env.data.VideoLists`, whose module would import torch.
LISTS = (
    *("list_file", "class_file", "video_dir", "frame_dir", "separator"),
    *("multi_label", "image_template", "min_frames", "num_classes"),
)
# Commands that need no videos: a data set's mandatory `data_dir` may be left out.
_WITHOUT_VIDEOS = ("convert", "extract-frames", "flops")
_WITH_BANK = ("stage2", "evaluate", "benchmark", "record", "tune")
# Keys that only the networks of one family have.
_OF_FAMILY = {
    "recurrent": ("hidden_dim",),
    "temporal_shift": ("num_glance_frames", "video_div", "temporal_shift"),
}
GROUPS = ("dataset", "model", "algo", "experiment")


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


@dataclass(frozen=True)
class RunConfig:
    """Every key of `configs/config.yaml` and its groups; the comments there are the manual."""

    command: str
    seed: int
    device: str
    num_workers: int
    output_dir: Path
    resume: str | None
    recognizer: str | None
    pretrained_glancer: str | None
    pretrained_focuser: str | None
    policy: str | None
    trust: bool
    pretrain_glancer: bool
    epochs: int | None
    batch_size: int | None
    optimizer: str | None
    lr_type: str | None
    backbone_lr: float | None
    fc_lr: float | None
    momentum: float
    weight_decay: float
    glancer_frames: int | None
    focuser_frames: int | None
    classifier_dropout: float | None
    max_grad_norm: float | None
    eval_freq: int | None
    video_freq: int
    lr_steps: tuple[int, ...]
    amp: str
    compile: bool
    grad_accumulation: int
    sync_batchnorm: bool
    reward: str | None
    baseline_positions: str
    skip_cost: float | str | None
    skip_rate: float | str | None
    action_dim: int
    locations: str
    observation: str
    rollouts: str
    policy_frames: int | None
    features: str
    bank_device: str
    views: int
    split: str
    draws: int
    policies: tuple[str, ...]
    runs: Mapping[str, str] | str | tuple[str, ...] | None
    train_gap: bool
    conditional_exit: bool
    player_videos: tuple[int, ...] | None
    videos: tuple[int, ...] | int | None
    output: str | None
    trials: int
    search: Mapping[str, Any] | None
    pruner: str
    fps: float
    ship: bool
    map_rule: str
    map_labels: str
    select_by: str
    source: str | None
    target: str | None
    format: str
    height: int | str | None
    dataset: str
    data_dir: str | None
    lists: Mapping[str, Any] | None
    media: str
    frame_rate: float | None
    train_sampling: str
    eval_sampling: str
    crop: bool
    flip: bool
    crops: str
    keep_decoded: bool
    family: str
    glancer: str
    focuser: str
    num_frames: int
    frame_size: int
    glance_size: int
    glance_resize: str
    patch_size: int
    hidden_dim: int | None
    num_glance_frames: int | None
    video_div: int | None
    temporal_shift: bool | None
    dropout: float
    activation_cap: float | None
    algo: AlgoConfig

    def __post_init__(self) -> None:
        """Check values that would fail late or silently.

        Raises:
            ConfigError: a value is out of range.
        """
        for item in fields(self):
            check_type(item.name, getattr(self, item.name), get_type_hints(RunConfig)[item.name])
        positive = (
            *("epochs", "batch_size", "eval_freq", "draws", "num_frames", "action_dim"),
            *("glancer_frames", "focuser_frames", "policy_frames", "grad_accumulation", "views"),
            *("hidden_dim", "num_glance_frames", "video_div", "trials"),
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} must be at least 1")
        for name in ("seed", "num_workers", "video_freq"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be 0 or more")
        for name, known in {
            "optimizer": ("adamw", "sgd", None),
            "lr_type": ("onecycle", "cos", "step", None),
            "locations": ("grid", "continuous", "skip"),
            "family": tuple(_OF_FAMILY),
            "observation": ("map", "vector"),
            "rollouts": ("numpy", "device"),
            "split": ("train", "val", "test"),
            "amp": ("none", "auto", "fp16", "bf16"),
            "map_rule": ("standard", "published"),
            "map_labels": ("all", "first"),
            "select_by": ("top1", "map"),
            "format": ("ours", "published"),
            "media": ("frames", "videos"),
            "train_sampling": ("random", "dense"),
            "eval_sampling": ("center", "test", "dense"),
            "crops": ("same", "independent"),
            "bank_device": ("auto", "cpu", "cuda"),
            "pruner": ("median", "hyperband", "none"),
        }.items():
            if getattr(self, name) not in known:
                choices = ", ".join(str(item) for item in known if item)
                raise ConfigError(f"{name}={getattr(self, name)} is unknown; known are {choices}")
        self._check_family()
        if self.fps <= 0:
            raise ConfigError(f"fps={self.fps} must be above 0")
        if self.features != "live":
            self._check_features()
        self._check_skipping()
        unknown = sorted(set(self.lists or {}) - set(LISTS))
        if unknown:
            raise ConfigError(f"lists has no {unknown[0]!r}; known are {', '.join(LISTS)}")
        if math.isqrt(self.action_dim) ** 2 != self.action_dim:
            raise ConfigError(f"action_dim={self.action_dim} is no square; 49 is a 7x7 grid")

    def _check_skipping(self) -> None:
        """Costs and rates are numbers or `random`.

        Raises:
            ConfigError: one is neither.
        """
        for name, highest in {"skip_cost": math.inf, "skip_rate": 1.0}.items():
            value = getattr(self, name)
            fits = (
                value in (None, "random")
                if isinstance(value, str | None)
                else (0.0 <= value <= highest and math.isfinite(value))
            )
            if not fits:
                limit = "0 or more" if highest == math.inf else "0 to 1"
                raise ConfigError(f"{name}={value} must be a number, {limit}, or random")
        if self.command == "stage2" and self.skip_cost is not None and self.locations != "skip":
            raise ConfigError(
                f"skip_cost={self.skip_cost} is for policies that skip: locations=skip"
            )

    def _check_family(self) -> None:
        """Refuse sizes of networks that these are not, and missing ones of these.

        Raises:
            ConfigError: the message names the key.
        """
        for family, names in _OF_FAMILY.items():
            for name in names:
                value = getattr(self, name)
                if family == self.family and value is None:
                    raise ConfigError(f"family={family} needs {name}=...; model= sets it")
                if family != self.family and value is not None:
                    raise ConfigError(
                        f"{name}={value} is for family={family}, and the networks are of "
                        f"family={self.family}; leave {name}=null, or choose another model="
                    )

    def _check_features(self) -> None:
        """Refuse what is no bank, and commands that see frames.

        Raises:
            ConfigError: the message names the cure.
        """
        kind, _, path = self.features.partition(":")
        if kind != "bank" or not path:
            raise ConfigError(f"features={self.features} is unknown; known are live, bank:PATH")
        if self.command not in _WITH_BANK:
            raise ConfigError(
                f"{self.command} works on frames and cannot use a bank: features=bank:PATH is for "
                f"{', '.join(_WITH_BANK)}; leave features=live"
            )

    @property
    def grid_size(self) -> int:
        """G, from `action_dim` = G * G."""
        return math.isqrt(self.action_dim)

    @property
    def live_options(self) -> dict[str, Any]:
        """Of the environment's live features; `amp=auto` is for training alone."""
        return {
            "amp": "none" if self.amp == "auto" else self.amp,
            "compile": self.compile,
            "num_workers": self.num_workers,
        }

    @property
    def source_run(self) -> str | None:
        """The earlier stage's run folder that this command starts from."""
        return self.recognizer or (None if self.resume == "auto" else self.resume)

    def plain(self) -> dict[str, Any]:
        """All values as YAML writes and reads them."""
        values = asdict(self)
        values["output_dir"] = str(self.output_dir)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def need(self, name: str) -> Any:
        """A value that this command cannot do without.

        Raises:
            ConfigError: the experiment's recipe has none for this command and none was given.
        """
        value = getattr(self, name)
        if value is None:
            raise ConfigError(
                f"{self.command} needs {name}=...: the experiment has no value for it"
            )
        return value


def read_config(cfg: DictConfig, *, command: str | None = None) -> RunConfig:
    """Resolve Hydra's configuration into typed values.

    Args:
        cfg: the composed configuration.
        command: read it as this command would; None keeps `cfg.command`.

    Raises:
        ConfigError: a missing, unknown or unusable value.
    """
    cfg = cfg.copy()
    if command is not None:
        cfg.command = command
    if cfg.command in _WITHOUT_VIDEOS and OmegaConf.is_missing(cfg, "data_dir"):
        cfg.data_dir = None
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    values.pop("recipes", None)
    names = {str(name): value for name, value in values.items()}
    known = {item.name for item in fields(RunConfig)}
    for name in names:
        if name not in known:
            raise ConfigError(unknown_key(name, known))
    algo = dict(names.pop("algo"))
    algorithm, preset = algo.pop("name"), algo.pop("preset", None)
    class_path = algo.pop("class_path", None)
    arguments = _without_nulls(algo)
    # Published validation draws once and needs no reward, nor the patches it is measured with.
    evaluates = names["command"] in ("evaluate", "record")
    for name, value in {
        "draws": 1 if evaluates else 4,
        "reward": None if evaluates else "random",
    }.items():
        if names[name] is None:
            names[name] = value
    for name in ("resume", "recognizer"):
        if names[name] == "shipped":
            names[name] = _shipped(name, names["dataset"])
    names["output_dir"] = Path(names["output_dir"])
    for name in ("policies", "lr_steps", "runs", "player_videos", "videos"):
        if isinstance(names[name], list):
            names[name] = tuple(names[name])
    return RunConfig(**names, algo=AlgoConfig(algorithm, preset, arguments, class_path))


def _shipped(key: str, dataset: str) -> str:
    """What `resume=shipped` stands for."""
    if dataset not in SHIPPED:
        raise ConfigError(
            f"{key}=shipped: no recognizer for dataset={dataset} comes with the package, only for "
            f"{', '.join(SHIPPED)}; 'adafocus stage1' makes one"
        )
    return str(shipped_recognizer(dataset))


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are set, here and in mappings below."""
    cleaned = {k: _without_nulls(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {name: value for name, value in cleaned.items() if value is not None}


def unknown_key(name: str, known: set[str]) -> str:
    """The message about a key that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean {near[0]}=?" if near else "; see configs/config.yaml"
    return f"unknown configuration key {name!r}{hint}"
