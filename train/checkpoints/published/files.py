"""The published code's `.pth.tar` files, described in README.md beside this: read and written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adafocus_env.files import atomic_path
from adafocus_env.folders import make_folder
from adafocus_env.networks import CheckpointError
from adafocus_env.networks.weights import refuse_not_finite
from train.checkpoints.published.torch_file import read_torch_file

Weights = dict[str, Tensor]

RECURRENT, SHIFT = "recurrent", "temporal_shift"  # the families: ActivityNet, Something-Something

_ENTRIES = ("glancer", "focuser", "fc")
_TSM_HEADS = {"glancer": "net.classifier.", "focuser": "net.fc."}
_POLICY = "policy.policy."
_POLICY_OLD = "policy.policy_old."


@dataclass(frozen=True)
class PublishedCheckpoint:
    """What a file holds, under the file's own names.

    Attributes:
        glancer: `net.*`.
        focuser: `net.*`; the policies in it are taken out.
        classifier: `gru.*` and `fc.*`, the file's entry `fc`; of Something-Something `weight` and
            `bias`.
        policy: `state_encoder.*`, `gru.*`, `actor.*`, `critic.*`; None in stages 0 and 1.
        epoch: epochs trained, None where the file does not say.
        acc: metric of this epoch in percent, None where unknown.
        best_acc: best metric so far in percent, None where unknown.
        notes: what is worth knowing about the file, a sentence each.
        family: `"recurrent"` (ActivityNet) or `"temporal_shift"` (Something-Something).
    """

    glancer: Weights
    focuser: Weights
    classifier: Weights
    policy: Weights | None
    epoch: int | None = None
    acc: float | None = None
    best_acc: float | None = None
    notes: list[str] = field(default_factory=list)
    family: str = RECURRENT


def read_published(path: Path) -> PublishedCheckpoint:
    """Read a checkpoint of either family; nothing in it is executed.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: no such checkpoint, or one of networks that are not built here.
    """
    entries = read_torch_file(path)
    _refuse_single_backbone(path, entries)
    parts = {name: _weights(entries, name, path) for name in _ENTRIES}
    focuser, inside, inside_old = _split_focuser(parts["focuser"])
    policy = _weights(entries, "policy", path) if entries.get("policy") is not None else None
    notes = []
    for name, weights in {_POLICY: inside, _POLICY_OLD: inside_old}.items():
        if policy is not None and weights and not _equal(policy, weights):
            notes.append(f"focuser's {name}* differ from the entry policy, which is taken")
    if policy is None and (inside_old or inside):
        # The copy that acts comes first.
        name, policy = (_POLICY_OLD, inside_old) if inside_old else (_POLICY, inside)
        notes.append(f"the policy is taken from focuser's {name}*")
    _refuse_other_networks(path, parts, policy)
    return PublishedCheckpoint(
        parts["glancer"],
        focuser,
        parts["fc"],
        policy,
        epoch=_whole(entries.get("epoch")),
        acc=_number(entries.get("acc")),
        best_acc=_number(entries.get("best_acc")),
        notes=notes,
        family=_family(parts),
    )


def read_published_part(path: Path, part: str) -> Weights:
    """The weights of one network, `net.*`, from any file that has them.

    Args:
        path: a published `.pth.tar`, a checkpoint of the TSM repository (`state_dict` holds
            `module.base_model.*` and `module.new_fc.*`), or a torchvision weights file (`.pth`,
            `.safetensors`).
        part: `"glancer"` or `"focuser"`.

    Returns:
        under the file's own names, which `named_as_ours` translates.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: no weights in it.
    """
    entries = read_torch_file(path)
    if part in entries:
        return _split_focuser(_weights(entries, part, path))[0]
    if isinstance(entries.get("state_dict"), dict):
        weights = _weights(entries, "state_dict", path)
        if any("base_model." in name for name in weights):
            return _tsm_weights(weights, part, path)
        entries = dict(weights)  # as training scripts save it beside an optimizer
    if not entries or not _all_tensors(entries):
        raise CheckpointError(
            f"{path} has no {part}; its entries are {', '.join(map(str, list(entries)[:8]))}"
        )
    refuse_not_finite(entries, path)
    return {f"net.{name}": value for name, value in _without_module(entries).items()}


def _refuse_single_backbone(path: Path, entries: Mapping[str, Any]) -> None:
    """Say where a checkpoint of the TSM repository belongs: it is where stage 0 starts from."""
    weights = entries.get("state_dict")
    if "glancer" in entries or not isinstance(weights, dict):
        return
    if any("base_model." in str(name) for name in weights):
        glances = any("base_model.features." in str(name) for name in weights)
        part = "glancer" if glances else "focuser"
        raise CheckpointError(
            f"{path} is a checkpoint of the TSM repository: a backbone, no recognizer; start from "
            f"it with 'adafocus stage0 pretrain_glancer={str(glances).lower()} "
            f"pretrained_{part}={path}'"
        )


def _tsm_weights(weights: Weights, part: str, path: Path) -> Weights:
    head = _TSM_HEADS[part]
    renamed = {}
    for name, value in weights.items():
        if not name.startswith(("base_model.", "new_fc.")):
            raise CheckpointError(
                f"{path} has {name!r} in its state_dict; one of the TSM repository has "
                "module.base_model.* and module.new_fc.* alone"
            )
        renamed[name.replace("base_model.", "net.", 1).replace("new_fc.", head, 1)] = value
    return renamed


def write_published(
    path: Path,
    *,
    family: str = RECURRENT,
    glancer: Weights,
    focuser: Weights,
    classifier: Weights,
    policy: Weights | None,
    epoch: int,
    acc: float,
    best_acc: float,
) -> None:
    """Write a checkpoint with all entries of the published code, atomically.

    Args:
        path: the file.
        family: `"recurrent"` or `"temporal_shift"`, whose files have other entries.
        glancer: `net.*`.
        focuser: `net.*`; the policy is put into it twice, as the published code does with the
            first family.
        classifier: `gru.*`, `fc.*`; or `weight`, `bias`.
        policy: under the published names, or None.
        epoch: epochs trained.
        acc: metric of this epoch in percent.
        best_acc: best metric in percent.
    """
    inside: Weights = {}
    for prefix in (_POLICY, _POLICY_OLD) if family == RECURRENT else ():
        inside.update({prefix + name: value for name, value in (policy or {}).items()})
    focuser = {**focuser, **inside}
    model = {
        f"{part}.{name}": value
        for part, weights in (
            ("glancer", glancer),
            ("focuser", focuser),
            ("classifier", classifier),
        )
        for name, value in weights.items()
    }
    entries = {
        "epoch": epoch,
        "model_state_dict": model,
        "glancer": glancer,
        "focuser": focuser,
        "fc": classifier,
        **({"scaler": None} if family == RECURRENT else {}),
        "policy": policy,
        "acc": torch.tensor(acc),
        "best_acc": torch.tensor(best_acc),
        "optimizer": None,
    }
    make_folder(path.parent)
    with atomic_path(path) as unfinished:
        torch.save(entries, unfinished)


def _weights(entries: Mapping[str, Any], name: str, path: Path) -> Weights:
    weights = entries.get(name)
    if not (isinstance(weights, dict) and weights and _all_tensors(weights)):
        raise CheckpointError(
            f"{path} has no weights under {name!r}; a published checkpoint has glancer, focuser "
            f"and fc, this file has {', '.join(map(str, list(entries)[:8])) or 'nothing'}"
        )
    refuse_not_finite(weights, path, f"{name}.")
    return _without_module(weights)


def _all_tensors(weights: Mapping[str, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in weights.values())


def _without_module(weights: Mapping[str, Tensor]) -> Weights:
    """Names without the prefix that DataParallel puts before all of them."""
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return dict(weights)


def _split_focuser(focuser: Weights) -> tuple[Weights, Weights, Weights]:
    """The network, the policy in it, and the copy of the policy that acts."""

    def below(prefix: str) -> Weights:
        return {n.removeprefix(prefix): v for n, v in focuser.items() if n.startswith(prefix)}

    net = {n: v for n, v in focuser.items() if not n.startswith((_POLICY, _POLICY_OLD))}
    return net, below(_POLICY), below(_POLICY_OLD)


def _family(parts: Mapping[str, Weights]) -> str:
    """Of Something-Something `fc` is one linear layer; the other family's holds one called `fc`."""
    return SHIFT if "weight" in parts["fc"] else RECURRENT


def _refuse_other_networks(
    path: Path, parts: Mapping[str, Weights], policy: Weights | None
) -> None:
    if "fc" in parts and set(parts["fc"]) == {"fc.weight", "fc.bias"}:
        raise CheckpointError(
            f"{path} has a classifier without memory (consensus=fc), which cannot follow a policy "
            "step by step and is not read; the published runs have consensus=gru"
        )
    if policy is not None and "state_encoder.2.weight" in policy:
        raise CheckpointError(
            f"{path} has a policy without convolution (policy_conv=false), which is not read; the "
            "published runs have policy_conv=true"
        )


def _equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def _number(value: Any) -> float | None:
    """A metric: Python number, 0-dim or one-element tensor; else None, also for NaN."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number != int(number) else int(number)
