"""Algorithms by name, with their presets."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

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
        # What the demo trains with: small networks, quick learning.
        "demo": {
            "learning_rate": 1e-3,
            "gamma": 0.7,
            "normalize_returns": True,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "policy_kwargs": {
                "hidden_dim": 128,
                "detach_value": True,
                "standardize": True,
                "orthogonal": True,
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

    Raises:
        ValueError: unknown algorithm or preset.
    """
    arguments = dict(_lookup(_lookup(PRESETS, name, "algorithm"), preset, f"preset of {name}"))
    policy_kwargs = {**arguments.get("policy_kwargs", {}), **overrides.get("policy_kwargs", {})}
    return {**arguments, **overrides, "policy_kwargs": policy_kwargs}


def _lookup(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1, cutoff=0.0)
        raise ValueError(f"unknown {what} {name!r}; did you mean {near[0]!r}?")
    return table[name]
