"""Algorithms by name: their classes, and arguments as configuration files write them."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

from agents.policies.glance_extractor import GlanceMapExtractor
from agents.policies.spatial_policy import FrameMeanExtractor, SpatialPolicy
from agents.sb3.argument_types import (
    ARGUMENTS,
    POLICY_KWARGS,
    as_argument,
    check_types,
    number_of,
)
from agents.sb3.presets import PRESETS

# Imported when asked for: sb3-contrib may not be installed.
ALGORITHMS: dict[str, str] = {
    "gru_ppo": "agents.gru_ppo.algorithm:GruPPO",
    "ppo": "stable_baselines3:PPO",
    "a2c": "stable_baselines3:A2C",
    "dqn": "stable_baselines3:DQN",
    "recurrent_ppo": "sb3_contrib:RecurrentPPO",
    "trpo": "sb3_contrib:TRPO",
    "qrdqn": "sb3_contrib:QRDQN",
}
CUSTOM = "custom"  # nothing but the user's own class

# What text in a configuration means where SB3 expects a class.
NAMED_CLASSES: dict[str, dict[str, type[Any]]] = {
    "activation_fn": {
        "relu": torch.nn.ReLU,
        "tanh": torch.nn.Tanh,
        "elu": torch.nn.ELU,
        "gelu": torch.nn.GELU,
        "silu": torch.nn.SiLU,
        "leaky_relu": torch.nn.LeakyReLU,
    },
    "optimizer_class": {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "sgd": torch.optim.SGD,
    },
    "features_extractor_class": {
        "glance_map": GlanceMapExtractor,
        "frame_mean": FrameMeanExtractor,
    },
}

# SB3's policy -> ours of its kind, for the algorithms that have it.
_OWN_POLICIES: dict[str, str] = {
    "MlpPolicy": "agents.policies.spatial_policy:SpatialPolicy",
    "MlpLstmPolicy": "agents.policies.spatial_lstm_policy:SpatialLstmPolicy",
}

# Arguments that the run itself gives, or that text cannot say.
_NOT_SETTABLE = {
    "self": "it is the algorithm",
    "env": "the run makes it",
    "seed": "use seed=",
    "device": "use device=",
    "features_extractor": "use features_extractor_class",
    "process_group": "torchrun says it",
    "tensorboard_log": "the run folder is the place",
    "_init_setup_model": "the run needs it",
    "rollout_buffer_class": "write a class of your own (algo.class_path=)",
    "replay_buffer_class": "write a class of your own (algo.class_path=)",
}


# What is made with an argument's entries.
_BUFFERS = {"replay_buffer_kwargs": ReplayBuffer, "rollout_buffer_kwargs": RolloutBuffer}


def algorithm_class(name: str, class_path: str | None = None) -> type[BaseAlgorithm]:
    """The class of an algorithm.

    Args:
        name: key of `ALGORITHMS`, or `"custom"`.
        class_path: `package.module.Class` of the user's own class instead. Importing runs code:
            never take this from a file that is merely loaded.

    Raises:
        ValueError: unknown name (the message has the nearest one), or a class that is not there.
    """
    if class_path is not None:
        return _own_class(class_path)
    if name == CUSTOM:
        raise ValueError("algo=custom needs algo.class_path=my_package.MyAlgorithm")
    module, _, attribute = _lookup(ALGORITHMS, name, "algorithm").partition(":")
    try:
        found: type[BaseAlgorithm] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ValueError(
            f"{name} comes with {module.replace('_', '-')}, which is not installed: "
            "pip install 'adafocus-env[contrib]'"
        ) from error
    return found


def algorithm_arguments(
    name: str,
    preset: str | None,
    overrides: Mapping[str, Any],
    *,
    class_path: str | None = None,
    num_decisions: int = 1,
) -> dict[str, Any]:
    """Constructor arguments of a preset, with overrides; `policy_kwargs` are merged.

    A value `"lin_X"` becomes a schedule that falls linearly from X to 0; `"kT"` is k times the
    steps of an episode; names of activations and the like become classes (`NAMED_CLASSES`). Types
    and ranges are checked for the classes of SB3, sb3-contrib and this package.

    Args:
        name: key of `ALGORITHMS`, or `"custom"`.
        preset: key of the algorithm's `PRESETS`; None where it has none.
        overrides: arguments that go before the preset's.
        class_path: as of `algorithm_class`.
        num_decisions: T.

    Raises:
        ValueError: unknown algorithm, preset or argument (the message has the nearest one), or a
            value that an argument cannot have.
    """
    algorithm = algorithm_class(name, class_path)
    presets = PRESETS.get(name, {})
    if preset is not None and not presets:
        raise ValueError(f"{name} has no presets, but {preset!r} was asked for; leave algo.preset")
    given = {} if preset is None else dict(_lookup(presets, preset, f"preset of {name}"))
    own_kwargs = overrides.get("policy_kwargs") or {}
    if not isinstance(own_kwargs, Mapping):
        raise ValueError(f"algo.policy_kwargs={own_kwargs!r} must be a name: value mapping")
    policy_kwargs = {**given.get("policy_kwargs", {}), **own_kwargs}
    _check_names(algorithm, overrides, f"argument of {name}")
    merged = {**given, **overrides}
    policy = policy_class(algorithm, merged.get("policy"))
    if issubclass(policy, SpatialPolicy):
        merged["policy"] = policy
    _check_names(policy, policy_kwargs, "entry of policy_kwargs")
    numbers = {
        key: number_of(key, value, algorithm, num_decisions) for key, value in merged.items()
    }
    if _is_known(algorithm):
        check_types(numbers, ARGUMENTS)
        _check_batch(algorithm, merged)  # 1T is as many steps as an episode has
        for part, cls in _BUFFERS.items():
            if numbers.get(part):
                _check_names(cls, numbers[part], f"entry of {part}")
    if _is_known(policy):
        check_types(policy_kwargs, POLICY_KWARGS, "algo.policy_kwargs.")
        _check_inner_names(policy, policy_kwargs)
    arguments = {key: as_argument(key, merged[key], number) for key, number in numbers.items()}
    arguments["policy_kwargs"] = {
        key: _class_or_value(key, value) for key, value in policy_kwargs.items()
    }
    return arguments


def policy_class(
    algorithm: type[BaseAlgorithm], policy: str | type[BasePolicy] | None
) -> type[BasePolicy]:
    """The class of an algorithm's policy.

    Args:
        algorithm: whose `policy_aliases` count.
        policy: a name such as `MlpPolicy`, or the class; None takes the constructor's default, or
            the first name.

    Raises:
        ValueError: unknown name; the message has the nearest one.
    """
    if isinstance(policy, type):
        return policy
    aliases = {**algorithm.policy_aliases, **_own_policies(algorithm)}
    if policy is None:
        default = inspect.signature(algorithm).parameters["policy"].default
        policy = default if isinstance(default, str) else next(iter(aliases), None)
    if policy is None:
        raise ValueError(f"{algorithm.__name__} names no policy; give algo.policy=")
    found: type[BasePolicy] = _lookup(aliases, policy, f"policy of {algorithm.__name__}")
    return found


def _own_policies(algorithm: type[BaseAlgorithm]) -> dict[str, type[BasePolicy]]:
    """Those that actor-critic algorithms take by name; a value-based one has no logits to score."""
    found: dict[str, type[BasePolicy]] = {}
    for kind, place in _OWN_POLICIES.items():
        if issubclass(algorithm.policy_aliases.get(kind, BasePolicy), ActorCriticPolicy):
            module, _, name = place.partition(":")
            found[name] = getattr(importlib.import_module(module), name)
    return found


def _own_class(class_path: str) -> type[BaseAlgorithm]:
    module, _, attribute = class_path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"algo.class_path={class_path} cannot be imported ({error}); write "
            "my_package.my_module.MyAlgorithm, installed or on PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseAlgorithm)):
        raise ValueError(f"algo.class_path={class_path} is no algorithm of Stable-Baselines3")
    return found


def _check_names(constructor: Callable[..., Any], arguments: Mapping[str, Any], what: str) -> None:
    """Refuse arguments that a constructor does not take."""
    parameters = dict(inspect.signature(constructor).parameters)
    if isinstance(constructor, type) and issubclass(constructor, SpatialPolicy):
        for cls in constructor.__mro__:  # it hands on to SB3's what it does not take itself
            parameters |= inspect.signature(cls).parameters
        parameters = {n: item for n, item in parameters.items() if n not in ("args", "kwargs")}
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return
    for name in arguments:
        if name in _NOT_SETTABLE:
            raise ValueError(f"{what} {name!r} cannot be set: {_NOT_SETTABLE[name]}")
        _lookup({key: None for key in parameters if key not in _NOT_SETTABLE}, name, what)


def _check_batch(algorithm: type[BaseAlgorithm], arguments: Mapping[str, Any]) -> None:
    """Refuse minibatches whose advantages cannot be normalised."""
    normalizes = inspect.signature(algorithm).parameters.get("normalize_advantage")
    if arguments.get("batch_size") != 1 or normalizes is None:
        return
    if arguments.get("normalize_advantage", normalizes.default):
        raise ValueError(
            "algo.batch_size=1: the advantage of one step cannot be normalised; use 2 or more, or "
            "algo.normalize_advantage=false"
        )


def _check_inner_names(policy: type[BasePolicy], kwargs: Mapping[str, Any]) -> None:
    """Refuse what the policy's own parts do not take."""
    parameters = inspect.signature(policy).parameters
    for part in ("features_extractor", "optimizer"):
        given = kwargs.get(f"{part}_kwargs")
        cls = _class_or_value(f"{part}_class", kwargs.get(f"{part}_class"))
        if cls is None and f"{part}_class" in parameters:
            cls = parameters[f"{part}_class"].default
        if given and cls is not None:
            _check_names(cls, given, f"entry of policy_kwargs.{part}_kwargs")


def _is_known(cls: type[Any]) -> bool:
    """Whether a class is SB3's, sb3-contrib's or ours, and not of the user's own."""
    return cls.__module__.split(".")[0] in ("stable_baselines3", "sb3_contrib", "agents")


def _class_or_value(name: str, value: Any) -> Any:
    if name in NAMED_CLASSES and isinstance(value, str):
        return _lookup(NAMED_CLASSES[name], value, name)
    return value


def _lookup(table: Mapping[str, Any], name: object, what: str) -> Any:
    if not isinstance(name, str) or name not in table:
        near = difflib.get_close_matches(str(name), table, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}{hint}")
    return table[name]
