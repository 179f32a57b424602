"""Policies as `policy.safetensors` and `policy.json`: loading them runs no code.

An SB3 `.zip` is read here as well, but loading one can run code: only where the user trusts it.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file

from adafocus_env.files import CheckpointError, atomic_path, first_line, read_json, write_json
from adafocus_env.networks.weights import NoMoreNumbers, read_weights, refuse_not_finite
from adafocus_env.schema import check_version, checked, closed
from adafocus_env.values import Units
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import GLANCE, beside_glance, glance_space
from agents.sb3.registry import NAMED_CLASSES

WEIGHTS_FILE = "policy.safetensors"
CONFIG_FILE = "policy.json"
FORMAT_VERSION = 1
SB3_FORMAT_VERSION = 2

# The classes that a file may name. Nothing else is ever imported because a file says so.
POLICY_CLASSES = {
    "ActorCriticPolicy": "stable_baselines3.common.policies",
    "DQNPolicy": "stable_baselines3.dqn.policies",
    "SACPolicy": "stable_baselines3.sac.policies",
    "TD3Policy": "stable_baselines3.td3.policies",
    "RecurrentActorCriticPolicy": "sb3_contrib.common.recurrent.policies",
    "QRDQNPolicy": "sb3_contrib.qrdqn.policies",
    "MultiInputActorCriticPolicy": "stable_baselines3.common.policies",
    "MultiInputPolicy": "stable_baselines3.dqn.policies",
    "RecurrentMultiInputActorCriticPolicy": "sb3_contrib.common.recurrent.policies",
    "SpatialPolicy": "agents.policies.spatial_policy",
    "SpatialLstmPolicy": "agents.policies.spatial_lstm_policy",
}
_MOST_OBSERVED = 2**24
_CURE = "use an undamaged copy, or train the policy again"
# What constructors raise for arguments and spaces that they cannot take.
_UNUSABLE = (
    *(ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, ImportError),
    *(ArithmeticError, IndexError),
)
_NOT_PUBLISHED = ("optimizer_class", "optimizer_kwargs")  # a policy that acts needs none


@closed
@dataclass(frozen=True)
class Part:
    """What a closed loop shows beside the glance.

    Attributes:
        shape: of one vector.
        bound: its numbers lie between 0 and this.
    """

    shape: Annotated[tuple[Units, ...], Field(min_length=1, max_length=1)]
    bound: Annotated[float, Field(gt=0)]


@closed
@dataclass(frozen=True)
class PolicyDescription:
    """What `policy.json` may hold.

    Attributes:
        format_version: 1, or 2 with a class of SB3.
        observation_shape: `(C, h, w)` or `(C,)`.
        observation_bound: largest number in an observation.
        beside: what a policy of a closed loop sees beside these glances, by name.
        recognizer_sha256: of the recognizer that the policy was trained with.
        glancer_sha256: of that recognizer's glancer.
        arguments: of the policy's constructor.
        class_name: of SB3's policy.
        num_actions: where they are positions.
        action_range: where they are coordinates.
        sees_cost: whether a last channel shows the price of a look; None in the first files.
    """

    format_version: int
    observation_shape: Annotated[tuple[Units, ...], Field(min_length=1, max_length=3)]
    observation_bound: Annotated[float, Field(gt=0)]
    recognizer_sha256: str | None
    glancer_sha256: str | None
    arguments: dict[str, Any]
    class_name: Annotated[str | None, Field(alias="class")] = None
    num_actions: Units | None = None
    action_range: tuple[float, float] | None = None
    sees_cost: bool | None = None
    beside: dict[str, Part] | None = None

    def __post_init__(self) -> None:
        """Refuse what each entry for itself allows."""
        numbers = math.prod(self.observation_shape)
        numbers += sum(math.prod(part.shape) for part in (self.beside or {}).values())
        if numbers > _MOST_OBSERVED:
            raise ValueError(f"observation_shape {list(self.observation_shape)} is too large")
        if (self.num_actions is None) == (self.action_range is None):
            raise ValueError("there must be either num_actions or action_range")


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
        ValueError: the policy's class or an argument is none that files can name.
    """
    folder = Path(folder)
    described = (
        {"format_version": FORMAT_VERSION}
        if isinstance(policy, GruActorCriticPolicy)
        else {"format_version": SB3_FORMAT_VERSION, "class": _class_name(policy)}
    )
    given = (
        policy.arguments()
        if isinstance(policy, GruActorCriticPolicy)
        else _plain_arguments(arguments or {})
    )
    observations = policy.observation_space
    description = {
        **described,
        **_describe_observations(observations),
        **_describe_actions(policy.action_space),
        "sees_cost": bool(getattr(policy, "sees_cost", False)),
        "recognizer_sha256": recognizer_sha256,
        "glancer_sha256": glancer_sha256,
        "arguments": given,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Off-policy algorithms hold some tensors under two names; safetensors does not.
    weights = {name: value.contiguous().clone() for name, value in policy.state_dict().items()}
    with atomic_path(folder / WEIGHTS_FILE) as part:
        part.write_bytes(save(weights))
    write_json(folder / CONFIG_FILE, description)


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
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"no policy in {folder}: {name} is missing; 'adafocus stage2' makes one"
            )
    config_file, weights_file = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    values = read_json(config_file, _CURE)
    check_version(values, [FORMAT_VERSION, SB3_FORMAT_VERSION], config_file, _CURE)
    saved = checked(values, PolicyDescription, config_file, _CURE)
    try:
        with NoMoreNumbers(weights_file.stat().st_size):
            policy = _rebuild(saved)
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


def _rebuild(saved: PolicyDescription) -> BasePolicy:
    """A policy with new weights, from a description that anyone may have written."""
    cls: type[Any] = GruActorCriticPolicy
    arguments = dict(saved.arguments)
    if saved.format_version == SB3_FORMAT_VERSION:
        name = saved.class_name
        if name not in POLICY_CLASSES:
            raise ValueError(f"class {name!r} is none of {', '.join(POLICY_CLASSES)}")
        cls = getattr(importlib.import_module(POLICY_CLASSES[name]), name)
        for key in NAMED_CLASSES.keys() & arguments.keys():
            arguments[key] = NAMED_CLASSES[key][arguments[key]]
    observations: spaces.Space[Any]
    observations = spaces.Box(0.0, saved.observation_bound, saved.observation_shape, np.float32)
    if saved.beside is not None:
        parts = {n: spaces.Box(0.0, p.bound, p.shape, np.float32) for n, p in saved.beside.items()}
        observations = spaces.Dict({GLANCE: observations, **parts})
    actions: spaces.Space[Any]
    if saved.action_range is not None:
        actions = spaces.Box(*saved.action_range, (2,), np.float32)
    else:
        actions = spaces.Discrete(saved.num_actions or 0)
    policy: BasePolicy = cls(observations, actions, lr_schedule=lambda _: 0.0, **arguments)
    return policy


def _class_name(policy: BasePolicy) -> str:
    name = type(policy).__name__
    if name not in POLICY_CLASSES or not type(policy).__module__.startswith(
        POLICY_CLASSES[name].partition(".")[0]
    ):
        raise ValueError(f"a file cannot name the class {type(policy).__qualname__}")
    return name


def _plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON types: classes by their names, nothing about optimisers.

    Raises:
        ValueError: something that has no name.
    """
    plain: dict[str, Any] = {}
    for key, value in arguments.items():
        if key in _NOT_PUBLISHED:
            continue
        names = {cls: name for name, cls in NAMED_CLASSES.get(key, {}).items()}
        plain[key] = names.get(value, value) if isinstance(value, type) else value
    try:
        json.dumps(plain)
    except TypeError as error:
        raise ValueError(f"policy_kwargs={plain} are no JSON types ({error})") from error
    return plain


def _describe_observations(space: spaces.Space[Any]) -> dict[str, Any]:
    """The glances, and what a closed loop shows beside them.

    Raises:
        ValueError: no glances, or something beside them that is no vector.
    """
    glance = glance_space(space)
    shown = {"observation_shape": list(glance.shape), "observation_bound": _bound(glance)}
    if not isinstance(space, spaces.Dict):
        return shown
    parts = beside_glance(space).items()
    return {
        **shown,
        "beside": {name: {"shape": list(p.shape or ()), "bound": _bound(p)} for name, p in parts},
    }


def _bound(space: Any) -> float:
    return float(space.high.max())


def _describe_actions(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        return {"num_actions": int(space.n)}
    assert isinstance(space, spaces.Box)
    return {"action_range": [float(space.low.min()), float(space.high.max())]}
