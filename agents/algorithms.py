"""Algorithms by name, with their presets."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule

from agents.gru_policy import GruActorCriticPolicy
from agents.gru_ppo import GruPPO

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"gru_ppo": GruPPO}

# Algorithm -> preset -> constructor arguments.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "gru_ppo": {
        # Exactly the published update (REFERENCE section 4): SB3's Adam has eps 1e-5 elsewhere.
        "paper": {
            "learning_rate": 3e-4,
            "gamma": 0.7,
            "normalize_returns": True,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "policy_kwargs": {
                "hidden_dim": 1024,
                "clamp_probs": True,
                "optimizer_kwargs": {"eps": 1e-8, "betas": (0.9, 0.999)},
            },
        },
        # What the demo trains with: small networks, quick learning. Actions change nothing but
        # the classifier's state, so a look is best credited with its own reward alone: gamma 0.
        "demo": {
            "learning_rate": "lin_0.002",
            "n_epochs": 3,
            "batch_episodes": 128,
            "gamma": 0.0,
            "normalize_returns": True,
            "center_steps": True,
            "ent_coef": "lin_0.03",
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "policy_kwargs": {
                "hidden_dim": 256,
                "detach_value": True,
                "standardize": True,
                "orthogonal": True,
                "clamp_probs": False,
            },
        },
    }
}


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """The class of an algorithm.

    Raises:
        ValueError: unknown name; the message has the nearest one.
    """
    found: type[BaseAlgorithm] = _lookup(ALGORITHMS, name, "algorithm")
    return found


def algorithm_arguments(name: str, preset: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of a preset, with overrides; `policy_kwargs` are merged.

    A value `"lin_X"` becomes a schedule that falls linearly from X to 0.

    Raises:
        ValueError: unknown algorithm, preset or argument; the message has the nearest one.
    """
    presets = _lookup(PRESETS, name, "algorithm")
    preset_arguments = dict(_lookup(presets, preset, f"preset of {name}"))
    policy_kwargs = {
        **preset_arguments.get("policy_kwargs", {}),
        **overrides.get("policy_kwargs", {}),
    }
    _check_names(algorithm_class(name), overrides, f"argument of {name}")
    _check_names(GruActorCriticPolicy, policy_kwargs, "entry of policy_kwargs")
    merged = {**preset_arguments, **overrides, "policy_kwargs": policy_kwargs}
    return {name: _schedule(name, value) for name, value in merged.items()}


def _check_names(constructor: Any, arguments: Mapping[str, Any], what: str) -> None:
    """Refuse arguments that a constructor does not take."""
    known = dict.fromkeys(inspect.signature(constructor).parameters)
    for name in arguments:
        _lookup(known, name, what)


def _schedule(name: str, value: Any) -> Any:
    """`"lin_0.001"` as a schedule from 0.001 down to 0, the notation of RL Zoo."""
    if not isinstance(value, str):
        return value
    try:
        prefix, start = value[:4], float(value[4:])
    except ValueError:
        prefix = ""
    if prefix != "lin_":
        raise ValueError(f"{name}={value!r} is no number; for a falling one write lin_0.001, say")
    return LinearSchedule(start, 0.0, 1.0)


def _lookup(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1, cutoff=0.0)
        raise ValueError(f"unknown {what} {name!r}; did you mean {near[0]!r}?")
    return table[name]
