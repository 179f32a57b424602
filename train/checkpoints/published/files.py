"""The published code's `.pth.tar` files (REFERENCE section 8): read safely, and written."""

from __future__ import annotations

import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from adafocus_env.files import atomic_path
from adafocus_env.networks import CheckpointError

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
        under the file's own names, which `shift_names.named_as_ours` translates.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: no weights in it.
    """
    entries = read_torch_file(path)
    if part in entries:
        return _split_focuser(_weights(entries, part, path))[0]
    if isinstance(entries.get("state_dict"), dict):
        return _tsm_weights(_weights(entries, "state_dict", path), part, path)
    if not entries or not _all_tensors(entries):
        raise CheckpointError(
            f"{path} has no {part}; its entries are {', '.join(map(str, list(entries)[:8]))}"
        )
    return {f"net.{name}": value for name, value in _without_module(entries).items()}


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished:
        torch.save(entries, unfinished)


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read a file of `torch.save` or safetensors as a dict; nothing in it is executed.

    Tensors come to the CPU. Numbers that NumPy wrote become Python numbers.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is damaged, is none, or holds more than tensors and numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file {path}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with torch.serialization.safe_globals(_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was pickled: it is read or refused
            entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in any way
        raise CheckpointError(_why_unreadable(path, error)) from error
    if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
        raise CheckpointError(f"{path} holds no named entries but a {type(entries).__name__}")
    return entries


class _NumberType:
    """Stands in for `numpy.dtype` when a file is read: nothing of NumPy's unpickling runs.

    Args:
        code: kind and size, as `"f8"`.
    """

    def __init__(self, code: str, *_: object):
        if not re.fullmatch(r"[fiu][1248]|b1", code):
            raise ValueError(f"NumPy type {code!r} is no plain number")
        self.code = code
        self.byte_order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Byte order is the second entry: `"<"`, `">"`, or `"|"` for single bytes."""
        if state[1] not in ("<", ">", "|"):
            raise ValueError(f"unknown byte order {state[1]!r}")
        self.byte_order = state[1]

    def number(self, content: bytes) -> Any:
        """The Python number in the bytes."""
        return np.frombuffer(content, np.dtype(self.byte_order + self.code), count=1)[0].item()


def _read_number(kind: _NumberType, content: bytes) -> Any:
    return kind.number(content)


# The metric of older files is a NumPy scalar. Its three names, and no others, may occur.
_NUMBERS: list[Any] = [
    (_read_number, "numpy.core.multiarray.scalar"),
    (_read_number, "numpy._core.multiarray.scalar"),
    (_NumberType, "numpy.dtype"),
]


def _why_unreadable(path: Path, error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found is not None:
        return (
            f"{path} holds {found[1]}, which is code and no weights; nothing of it was run, "
            "and such a file is not read"
        )
    # What torch says on the other occasions invites the user to switch its safety off.
    unsafe = isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error)
    says = "" if unsafe else str(error).split("\n", 1)[0][:120]
    return (
        f"{path} cannot be read as a checkpoint: damaged, incomplete or another kind of file "
        f"({type(error).__name__}{': ' if says else ''}{says})"
    )


def _weights(entries: Mapping[str, Any], name: str, path: Path) -> Weights:
    weights = entries.get(name)
    if not (isinstance(weights, dict) and weights and _all_tensors(weights)):
        raise CheckpointError(
            f"{path} has no weights under {name!r}; a published checkpoint has glancer, focuser "
            f"and fc, this file has {', '.join(map(str, list(entries)[:8])) or 'nothing'}"
        )
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
