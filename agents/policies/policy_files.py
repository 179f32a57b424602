"""Policies as `policy.safetensors` and `policy.json`: loading them runs no code.

An SB3 `.zip` is read here as well, but loading one can run code: only where the user trusts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file

from adafocus_env.files import (
    CheckpointError,
    atomic_path,
    check_part,
    first_line,
    read_json,
    write_json,
)
from adafocus_env.folders import make_folder
from adafocus_env.networks.weights import NoMoreNumbers, read_weights, refuse_not_finite
from adafocus_env.schema import check_version, checked
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import glance_space
from agents.policies.policy_description import (
    FORMAT_VERSION,
    SB3_FORMAT_VERSION,
    PolicyDescription,
    describe,
    rebuild,
)

WEIGHTS_FILE = "policy.safetensors"
CONFIG_FILE = "policy.json"

_CURE = "use an undamaged copy, or train the policy again"
# What constructors raise for arguments and spaces that they cannot take.
_UNUSABLE = (
    *(ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, ImportError),
    *(ArithmeticError, IndexError),
)


@dataclass(frozen=True)
class SavedPolicy:
    """A loaded policy and where it was trained.

    Attributes:
        policy: in evaluation mode.
        recognizer_sha256: fingerprint of the recognizer it was trained with; None from a `.zip`.
        glancer_sha256: fingerprint of that recognizer's glancer alone; None where it is unknown.
    """

    policy: BasePolicy
    recognizer_sha256: str | None
    glancer_sha256: str | None = None


def save_policy(
    policy: BasePolicy,
    folder: str | Path,
    *,
    recognizer_sha256: str | None,
    glancer_sha256: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """Write a policy into a folder, made if missing.

    Args:
        policy: the policy.
        folder: gets `policy.safetensors` and `policy.json`.
        recognizer_sha256: `Recognizer.fingerprint()` of the recognizer it was trained with.
        glancer_sha256: `Recognizer.glancer_fingerprint()` of that recognizer.
        arguments: what an SB3 policy was made with beyond the spaces (`policy_arguments`).

    Raises:
        ValueError: the policy's class or an argument is none that files can name, or it was made
            with other arguments.
    """
    folder = Path(folder)
    description = {
        **describe(policy, arguments or {}),
        "recognizer_sha256": recognizer_sha256,
        "glancer_sha256": glancer_sha256,
    }
    if not isinstance(policy, GruActorCriticPolicy):  # which knows its own arguments
        described = checked(description, PolicyDescription, folder / CONFIG_FILE, _CURE)
        _check_arguments(policy, described)
    make_folder(folder)
    # Off-policy algorithms hold some tensors under two names; safetensors does not.
    weights = {name: value.contiguous().clone() for name, value in policy.state_dict().items()}
    with atomic_path(folder / WEIGHTS_FILE) as part:
        part.write_bytes(save(weights))
    write_json(folder / CONFIG_FILE, description)


def _check_arguments(policy: BasePolicy, described: PolicyDescription) -> None:
    """Refuse to write what would be read as another policy.

    Raises:
        ValueError: the description is of a policy with other layers or weights.
    """
    with torch.random.fork_rng(devices=[]):
        again = rebuild(described)
    here, there = _make_up(policy), _make_up(again)
    for name in sorted(here.keys() | there.keys()):
        is_, would_be = here.get(name, "missing"), there.get(name, "missing")
        if is_ != would_be:
            raise ValueError(
                f"read again with these arguments, {name} of the policy would be {would_be}, and "
                f"it is {is_}; write save_policy(..., arguments=policy_arguments(model))"
            )


def _make_up(policy: BasePolicy) -> dict[str, str]:
    """Layers and weights, by name."""
    weights = policy.state_dict().items()
    layers = {name: type(layer).__name__ for name, layer in policy.named_modules() if name}
    return {**layers, **{name: str(tuple(value.shape)) for name, value in weights}}


def policy_arguments(model: BaseAlgorithm) -> dict[str, Any]:
    """What an algorithm's policy was made with beyond the spaces, for `save_policy`."""
    return {**model.policy_kwargs, "use_sde": True} if model.use_sde else dict(model.policy_kwargs)


def load_policy(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    glance_channels: int | None = None,
) -> SavedPolicy:
    """Read what `save_policy` wrote.

    Args:
        folder: with `policy.safetensors` and `policy.json`.
        device: where the policy goes.
        glance_channels: of the recognizer it is for. A file that does not say whether the policy
            sees the cost of a look is of one that does if it sees one channel more.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: the files do not fit each other or this version.
    """
    folder = Path(folder)
    check_part(folder, "policy", (CONFIG_FILE, WEIGHTS_FILE), "adafocus stage2")
    config_file, weights_file = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    values = read_json(config_file, _CURE)
    check_version(values, [FORMAT_VERSION, SB3_FORMAT_VERSION], config_file, _CURE)
    saved = checked(values, PolicyDescription, config_file, _CURE)
    try:
        with NoMoreNumbers(weights_file.stat().st_size):
            policy = rebuild(saved)
    except _UNUSABLE as error:
        raise CheckpointError(
            f"{config_file} describes no usable policy: {first_line(error)}; {_CURE}"
        ) from error
    policy.load_state_dict(read_weights(weights_file, policy.state_dict()))
    _say_whether_it_sees_the_cost(policy, saved.sees_cost, glance_channels)
    policy.set_training_mode(False)
    return SavedPolicy(policy.to(device), saved.recognizer_sha256, saved.glancer_sha256)


def load_trusted_zip(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    glance_channels: int | None = None,
) -> SavedPolicy:
    """The policy of an algorithm that SB3 saved. This can run code that the file brings along.

    Args:
        path: of the file, which never says whether the policy sees the cost of a look.
        device: as of `load_policy`.
        glance_channels: likewise.

    Raises:
        CheckpointError: no file of SB3, or one without a policy.
    """
    try:
        data, parameters, _ = load_from_zip_file(path, device="cpu")
        assert data is not None
        cls, kwargs = data["policy_class"], dict(data["policy_kwargs"])
        if data.get("use_sde"):
            kwargs["use_sde"] = True
        policy = cls(data["observation_space"], data["action_space"], lambda _: 0.0, **kwargs)
        policy.load_state_dict(parameters["policy"])
    except _UNUSABLE as error:
        raise CheckpointError(
            f"{path} holds no usable policy of SB3: {type(error).__name__}: {first_line(error)}"
        ) from error
    refuse_not_finite(policy.state_dict(), Path(path))
    _say_whether_it_sees_the_cost(policy, None, glance_channels)
    policy.set_training_mode(False)
    return SavedPolicy(policy.to(device), None, None)


def _say_whether_it_sees_the_cost(
    policy: BasePolicy, said: bool | None, glance_channels: int | None
) -> None:
    if said is None and glance_channels is not None:
        seen = glance_space(policy.observation_space)
        said = seen.shape[0] == glance_channels + 1
    if said is not None:
        policy.sees_cost = said  # type: ignore[assignment]
