"""What `policy.json` says: a policy described, and made anew from a description."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from gymnasium import spaces
from pydantic import Field
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.schema import closed
from adafocus_env.values import Units
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import GLANCE, beside_glance, glance_space
from agents.sb3.registry import NAMED_CLASSES

FORMAT_VERSION = 1
SB3_FORMAT_VERSION = 2

# The classes that a file may name. Nothing else is ever imported because a file says so. Each word
# is the class's name, with its algorithm's before it where several classes have the same.
POLICY_CLASSES = {
    "ActorCriticPolicy": "stable_baselines3.common.policies",
    "DQNPolicy": "stable_baselines3.dqn.policies",
    "SACPolicy": "stable_baselines3.sac.policies",
    "TD3Policy": "stable_baselines3.td3.policies",
    "RecurrentActorCriticPolicy": "sb3_contrib.common.recurrent.policies",
    "QRDQNPolicy": "sb3_contrib.qrdqn.policies",
    "MultiInputActorCriticPolicy": "stable_baselines3.common.policies",
    "MultiInputPolicy": "stable_baselines3.dqn.policies",
    "SAC.MultiInputPolicy": "stable_baselines3.sac.policies",
    "TD3.MultiInputPolicy": "stable_baselines3.td3.policies",
    "QRDQN.MultiInputPolicy": "sb3_contrib.qrdqn.policies",
    "RecurrentMultiInputActorCriticPolicy": "sb3_contrib.common.recurrent.policies",
    "SpatialPolicy": "agents.policies.spatial_policy",
    "SpatialLstmPolicy": "agents.policies.spatial_lstm_policy",
}
_MOST_OBSERVED = 2**24
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


def describe(policy: BasePolicy, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a policy's description that are about itself.

    Args:
        policy: the policy.
        arguments: what an SB3 policy was made with beyond the spaces.

    Raises:
        ValueError: the policy's class or an argument is none that files can name.
    """
    if isinstance(policy, GruActorCriticPolicy):
        described: dict[str, Any] = {"format_version": FORMAT_VERSION}
        given = policy.arguments()
    else:
        described = {"format_version": SB3_FORMAT_VERSION, "class": _class_name(policy)}
        given = _plain_arguments(arguments)
    return {
        **described,
        **_describe_observations(policy.observation_space),
        **_describe_actions(policy.action_space),
        "sees_cost": bool(getattr(policy, "sees_cost", False)),
        "arguments": given,
    }


def rebuild(saved: PolicyDescription) -> BasePolicy:
    """A policy with new weights, from a description that anyone may have written."""
    cls: type[Any] = GruActorCriticPolicy
    arguments = dict(saved.arguments)
    if saved.format_version == SB3_FORMAT_VERSION:
        name = saved.class_name
        if name not in POLICY_CLASSES:
            raise ValueError(f"class {name!r} is none of {', '.join(POLICY_CLASSES)}")
        cls = getattr(importlib.import_module(POLICY_CLASSES[name]), name.rpartition(".")[2])
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
    own = type(policy).__module__, type(policy).__qualname__
    for word, module in POLICY_CLASSES.items():
        if (module, word.rpartition(".")[2]) == own:
            return word
    raise ValueError(f"a file cannot name the class {own[1]}")


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
