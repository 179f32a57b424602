"""How large an algorithm's buffer of experience will be."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from rich.filesize import decimal
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.gru_ppo.algorithm import GruPPO
from agents.policies.observations import glance_space

# Reward, value, log-probability, advantage, return, episode start; or reward, done, timeout.
_ROLLOUT_NUMBERS, _REPLAY_NUMBERS = 6, 3


@dataclass(frozen=True)
class BufferSize:
    """What an algorithm will keep of its experience.

    Attributes:
        what: `"replay buffer"` or `"rollout buffer"`.
        transitions: steps of all rows together.
        num_bytes: when it is full.
    """

    what: str
    transitions: int
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.what} of {self.transitions:,} steps, {decimal(self.num_bytes)}"


def buffer_size(
    algorithm: type[BaseAlgorithm],
    arguments: Mapping[str, Any],
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    num_rows: int,
    num_decisions: int,
    looks_per_frame: int = 1,
) -> BufferSize | None:
    """The size of an algorithm's buffer; None where its kind is unknown.

    Args:
        algorithm: one of SB3's, or `GruPPO`, or a subclass.
        arguments: of its constructor.
        observation_space: of one row.
        action_space: of one row.
        num_rows: N.
        num_decisions: T.
        looks_per_frame: steps in a row that see the same glance, which `GruPPO` keeps once.
    """
    observation = _bytes_of(observation_space)
    action = int(np.prod(action_space.shape or (1,))) * np.dtype(action_space.dtype).itemsize
    if issubclass(algorithm, OffPolicyAlgorithm):
        steps = max(_argument(algorithm, arguments, "buffer_size") // num_rows, 1) * num_rows
        shared = _argument(algorithm, arguments, "optimize_memory_usage")
        each = observation * (1 if shared else 2) + action + 4 * _REPLAY_NUMBERS
        return BufferSize("replay buffer", steps, steps * each)
    spared = 0
    if issubclass(algorithm, GruPPO):
        steps = _argument(algorithm, arguments, "episodes_per_row") * num_decisions * num_rows
        again = steps - steps // looks_per_frame
        spared = again * _bytes_of(glance_space(observation_space))
    elif issubclass(algorithm, OnPolicyAlgorithm):
        steps = _argument(algorithm, arguments, "n_steps") * num_rows
    else:
        return None
    kwargs = arguments.get("policy_kwargs", {})
    lstm = "MlpLstmPolicy" in algorithm.policy_aliases
    # Hidden and cell state, of actor and critic; SB3's buffers are copied once to be shuffled.
    states = 4 * 4 * kwargs.get("lstm_hidden_size", 256) * kwargs.get("n_lstm_layers", 1)
    each = 2 * (observation + states * lstm) + action + 4 * _ROLLOUT_NUMBERS
    return BufferSize("rollout buffer", steps, steps * each - 2 * spared)


def _bytes_of(space: spaces.Space[Any]) -> int:
    """Of one observation."""
    parts = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
    return sum(math.prod(part.shape or ()) * np.dtype(part.dtype).itemsize for part in parts)


def _argument(algorithm: type[BaseAlgorithm], arguments: Mapping[str, Any], name: str) -> int:
    if name in arguments:
        return int(arguments[name])
    # The user's own class may hand its arguments on.
    for cls in algorithm.__mro__:
        parameter = inspect.signature(cls).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return int(parameter.default)
    raise ValueError(f"{algorithm.__name__} needs {name}=")
