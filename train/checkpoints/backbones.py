"""Backbones of stage 0, and pretrained ones of every kind of file, into glancer and focuser."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from adafocus_env import networks
from adafocus_env.files import atomic_path, write_json
from adafocus_env.folders import make_folder
from adafocus_env.networks import AnyRecognizer, CheckpointError, Focuser, Glancer
from adafocus_env.networks.weight_report import compare_weights
from adafocus_env.networks.weights import read_weights
from adafocus_env.schema import closed, read_checked
from train.checkpoints.load import BACKBONE_CONFIG, find_part
from train.checkpoints.published.files import read_published_part
from train.checkpoints.published.weight_names import named_as_ours
from train.config.keys import ConfigError
from train.config.learning import PretrainedSection

log = logging.getLogger(__name__)

BACKBONE_WEIGHTS = "backbone.safetensors"

# Files of ImageNet weights, as torchvision names them.
_OF_TORCHVISION = {
    "mobilenet_v2": "mobilenet_v2-b0353104.pth",
    "resnet50": "resnet50-19c8e357.pth",
}


@closed
@dataclass(frozen=True)
class _Description:
    backbone: str
    part: str | None = None  # the first files did not say
    class_names: tuple[str, ...] = ()


def save_backbone(
    network: nn.Module, name: str, class_names: tuple[str, ...], folder: Path
) -> None:
    """Write a stage-0 network: its weights, and which part, backbone and classes it is for."""
    make_folder(folder)
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    description = {
        "part": "glancer" if isinstance(network, Glancer) else "focuser",
        "backbone": name,
        "class_names": class_names,
    }
    with atomic_path(folder / BACKBONE_WEIGHTS) as part:
        part.write_bytes(save(weights))
    write_json(folder / BACKBONE_CONFIG, description)


def load_backbone(network: Glancer | Focuser, name: str, path: str, part: str) -> None:
    """Load weights into the glancer or the focuser.

    A classification head for another number of classes keeps the network's own weights, as it does
    where a published focuser with temporal shift has lost its own.

    Args:
        network: gets the weights.
        name: of its backbone.
        path: a run folder of stage 0 or its `glancer/` or `focuser/`; a folder that holds
            `recognizer/`; a published `.pth.tar`; a checkpoint of the TSM repository; or a file of
            weights under the network's own names, such as torchvision's and timm's.
        part: `"glancer"` or `"focuser"`.

    Raises:
        ConfigError: there are none at the path.
        CheckpointError: they cannot be read, or belong to another network.
    """
    own = network.state_dict()
    given = _backbone_weights(name, path, part)
    weights = named_as_ours(part, given, own)
    head = tuple(
        f"{name}." for name, part in network.named_modules() if part is network.class_head()
    )
    for key in [key for key in own if key.startswith(head) and key in weights]:
        if len(weights[key]) != len(own[key]):
            log.info(
                "%s: %s has %d classes, here are %d: left out",
                path,
                key,
                len(weights[key]),
                len(own[key]),
            )
            weights[key] = own[key]
    # Files older than PyTorch 0.4.1, torchvision's ResNet-50 among them, lack these counters.
    optional = [key for key in own if key.endswith(".num_batches_tracked")]
    if any(key.startswith("net.base_model.") for key in given):  # published, without a head
        optional += [key for key in own if key.startswith(head)]
        log.info("%s has no classification head: new weights", path)
    report = compare_weights(weights, own, optional=optional)
    if not report.exact:
        raise CheckpointError(f"{path} does not fit this {part} ({name}): {report}")
    network.load_state_dict({**own, **weights})
    log.info("%s: %s weights of the %s read", path, report.read, part)


def load_pretrained(
    recognizer: AnyRecognizer, config: PretrainedSection, command: str | None = None
) -> None:
    """Load both backbones of a new recognizer, as `pretrained_glancer` and `_focuser` say.

    Args:
        recognizer: gets the weights.
        config: names both paths.
        command: which the user called, for the message; None: the configured one.

    Raises:
        ConfigError: one of them is not named, or there are no weights at its path.
        CheckpointError: as of `load_backbone`.
    """
    for part, (name, path) in named_pretrained(config, command or config.command).items():
        load_backbone(getattr(recognizer, part), name, path, part)


def named_pretrained(config: PretrainedSection, command: str) -> dict[str, tuple[str, str]]:
    """Which network each backbone is, and the path of its weights, by part.

    Args:
        config: names both paths.
        command: which the user called, for the message.

    Raises:
        ConfigError: a path is not named, or nothing is there.
    """
    named: dict[str, tuple[str, str]] = {}
    for part, name, path in (
        ("glancer", config.glancer, config.pretrained_glancer),
        ("focuser", config.focuser, config.pretrained_focuser),
    ):
        if path is None:
            raise ConfigError(f"{command} needs pretrained_{part}={_sources(name, part)}")
        _check_exists(path, name, part)
        named[part] = (name, path)
    return named


def _sources(name: str, part: str) -> str:
    """What may be named for weights of a backbone: first what fits it without any training."""
    run = f"RUN_FOLDER of '{_stage0(part)}'"
    if name in _OF_TORCHVISION:
        return f"FILE, such as torchvision's {_OF_TORCHVISION[name]}, or {run}"
    return f"{run}, or FILE with weights of {name}"


def _stage0(part: str) -> str:
    return f"adafocus stage0 pretrain_glancer={'true' if part == 'glancer' else 'false'}"


def _check_exists(path: str, name: str, part: str) -> None:
    if not Path(path).exists():
        raise ConfigError(f"pretrained_{part}={path} does not exist; name {_sources(name, part)}")


def _backbone_weights(name: str, path: str, part: str) -> dict[str, Tensor]:
    """All weights for `net.*`, from whatever is at the path."""
    _check_exists(path, name, part)
    folder = Path(path)
    if folder.is_file():
        return read_published_part(folder, part)
    has_own = any((folder / own / BACKBONE_CONFIG).is_file() for own in ("", part))
    for candidate in () if has_own else (folder / "recognizer", folder):
        if (candidate / "recognizer.json").is_file():
            recognizer = networks.load_recognizer(candidate)
            _check_backbone(candidate, getattr(recognizer.config, part), name, part)
            state: dict[str, Tensor] = getattr(recognizer, part).state_dict()
            return state
    command = _stage0(part)
    folder = find_part(path, part, command)
    cure = f"use an undamaged copy, or '{command}'"
    description = read_checked(folder / BACKBONE_CONFIG, _Description, cure)
    if description.part not in (part, None):
        raise CheckpointError(
            f"{folder} holds a {description.part} ({description.backbone}), but a {part} is needed"
        )
    _check_backbone(folder, description.backbone, name, part)
    return read_weights(folder / BACKBONE_WEIGHTS)


def _check_backbone(folder: Path, saved: str, name: str, part: str) -> None:
    if saved != name:
        raise CheckpointError(f"{folder} holds a {saved}, but the {part} is a {name}")
