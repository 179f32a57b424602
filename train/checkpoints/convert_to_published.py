"""Our checkpoints in the published format."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from adafocus_env.files import write_json
from adafocus_env.networks import (
    AnyRecognizer,
    AnyRecognizerConfig,
    CheckpointError,
    ShiftRecognizerConfig,
)
from adafocus_env.schema import partial, read_checked
from agents.policies.policy_files import load_policy
from train.checkpoints.load import load_recognizer
from train.checkpoints.published.files import write_published
from train.checkpoints.published.policy import policy_to_published
from train.checkpoints.published.weight_names import published_names
from train.config.keys import ConfigError
from train.config.tools import ConvertConfig

REPORT_FILE = "convert.json"

# Entries of a recognizer's configuration that no weight tells.
_FROM_CONFIG = (
    *("num_frames", "frame_size", "patch_size", "glance_size", "glance_resize"),
    *("glancer", "focuser", "dropout", "activation_cap"),
)
_OF_SHIFT = ("num_glance_frames", "video_div")
PARTS = ("glancer", "focuser", "classifier")


@partial
@dataclass(frozen=True)
class _EarlierReport:
    """Of a report, what a published file has a place for."""

    epoch: int | None = None
    acc: float | None = None
    best_acc: float | None = None


def to_published(source: Path, target: Path, config: ConvertConfig) -> list[str]:
    """Write the recognizer, and the policy if there is one, of a folder; returns what to say."""
    if target.is_dir() or (target.is_file() and target.stat().st_size > 0):
        raise ConfigError(f"target={target} exists already; name a new file, x.pth.tar say")
    recognizer = load_recognizer(str(source), "cpu")
    check_expressible(recognizer.config, source)
    folder, weights, actions = source / "policy", None, None
    if (folder / "policy.json").is_file():
        policy = load_policy(folder).policy
        if policy.observation_space.shape != recognizer.observation_shape():
            raise CheckpointError(f"the policy in {folder} sees other maps than the glancer gives")
        weights = policy_to_published(policy, folder, family=recognizer.config.family)
        actions = len(weights["actor.0.weight"])
    before = _earlier_report(source)
    parts = _published_parts(recognizer)
    write_published(
        target,
        family=recognizer.config.family,
        glancer=parts["glancer"],
        focuser=parts["focuser"],
        classifier=parts["classifier"],
        policy=weights,
        epoch=before.epoch or 0,
        acc=math.nan if before.acc is None else before.acc,
        best_acc=math.nan if before.best_acc is None else before.best_acc,
    )
    sizes = given_sizes(recognizer.config)
    write_json(
        config.output_dir / REPORT_FILE,
        {"source": str(source), "target": str(target), "action_dim": actions, "sizes": sizes},
    )
    has = "recognizer and policy" if weights is not None else "recognizer"
    return [
        f"{has} of {source} are in {target}",
        f"to read it back: adafocus convert source={target} target=FOLDER {as_keys(sizes)}",
    ]


def given_sizes(sizes: AnyRecognizerConfig) -> dict[str, Any]:
    """What a file does not tell and the configuration must, when it is read."""
    names = (*_FROM_CONFIG, *(_OF_SHIFT if isinstance(sizes, ShiftRecognizerConfig) else ()))
    return {name: getattr(sizes, name) for name in names}


def _published_parts(recognizer: AnyRecognizer) -> dict[str, dict[str, Tensor]]:
    """Weights of glancer, focuser and classifier under the published names."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    state = recognizer.state_dict()
    names = {name: name for name in state}
    if isinstance(recognizer.config, ShiftRecognizerConfig):
        names = published_names(state)
    for own, published in names.items():
        part, name = published.split(".", 1)
        parts[part][name] = state[own].contiguous()
    return parts


def check_expressible(sizes: AnyRecognizerConfig, source: Path) -> None:
    """The published code normalises pixels in one way only, and always shifts in one family."""
    usual = {item.name: item.default for item in fields(sizes)}
    shift = ("temporal_shift",) if isinstance(sizes, ShiftRecognizerConfig) else ()
    for name in ("pixel_mean", "pixel_std", *shift):
        if getattr(sizes, name) != usual[name]:
            raise CheckpointError(
                f"the published format cannot hold the recognizer in {source}: its {name} is "
                f"{getattr(sizes, name)}, not {usual[name]}"
            )


def _earlier_report(source: Path) -> _EarlierReport:
    """Epoch and metrics of the file that a converted folder came from."""
    file = source / REPORT_FILE
    if not file.is_file():
        return _EarlierReport()
    return read_checked(file, _EarlierReport, f"delete it: {source} is converted without, too")


def as_keys(values: dict[str, Any]) -> str:
    """As one writes them on the command line."""
    return " ".join(f"{k}={'null' if v is None else v}" for k, v in values.items())
