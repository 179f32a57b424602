"""What a baseline agent is asked about: a batch of observations of either family of ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.envs import EpisodeCore
from agents.policies.observations import GLANCE


@dataclass(frozen=True)
class Shown:
    """What `predict` was given.

    Attributes:
        rows: N.
        batched: whether it was a batch; else it was one observation, and `rows` is 1.
        glances: `(N, C, h, w)` or `(N, C)`; None where they are not observed.
    """

    rows: int
    batched: bool
    glances: npt.NDArray[Any] | None

    @classmethod
    def of(cls, observation: Any) -> Shown:
        """Read an observation, or a batch of them.

        All that is observed is a map or a vector, so a second or a fourth axis is that of a batch.

        Args:
            observation: an array, or arrays by name.

        Raises:
            ValueError: anything else.
        """
        named = observation if isinstance(observation, Mapping) else {GLANCE: observation}
        parts = {name: _numbers(part) for name, part in named.items()}
        batched = {part.ndim % 2 == 0 for part in parts.values()}
        rows = {len(part) if part.ndim % 2 == 0 else 1 for part in parts.values()}
        if len(batched) != 1 or len(rows) != 1:
            shapes = ", ".join(f"{name} {part.shape}" for name, part in parts.items())
            raise ValueError(
                f"predict takes one observation or a batch of them, all parts alike, not a dict of "
                f"{shapes or 'nothing'}"
            )
        many, glances = batched.pop(), parts.get(GLANCE)
        if glances is not None and not many:
            glances = glances[None]
        return cls(rows.pop(), many, glances)


def check_rows(core: EpisodeCore, asked: int) -> None:
    """For agents that look into the core: refuse other rows than it has.

    Raises:
        ValueError: another number of them.
    """
    if asked != core.num_rows:
        raise ValueError(
            f"this agent watches the {core.num_rows} rows of its environment and was asked about "
            f"{asked}; show it the observations of all of them"
        )


def _numbers(part: Any) -> npt.NDArray[Any]:
    """A part of an observation.

    Raises:
        ValueError: it is none; SB3 says the same of the tuple that Gymnasium's `reset` returns.
    """
    given = np.asarray(part) if hasattr(part, "__array__") or isinstance(part, list) else None
    if given is None or given.dtype.kind not in "fiub" or given.ndim not in (1, 2, 3, 4):
        what = type(part).__name__ if given is None else f"an array {given.shape} of {given.dtype}"
        raise ValueError(
            "predict takes an observation, which is an array or a dict of arrays, or a batch of "
            f"them, not {what}; Gymnasium's reset returns (observation, info)"
        )
    return given
