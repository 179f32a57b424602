"""BlindSkipping: another agent's looks in some of the frames, chosen without seeing them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.seeding import Purpose, episode_rng
from agents.baselines.simple import Agent, RandomOffsets

RANDOM_SKIP, UNIFORM_SKIP = "random_skip", "uniform_skip"


class BlindSkipping:
    """What skipping has to beat: frames kept at random, or evenly spread over the clip.

    The frames belong to the episode's seed: results depend neither on the batch nor on the other
    policies. Evaluation takes the looks of the other agent in the frames that are kept, also of one
    that would skip them itself.

    Args:
        agent: says where to look.
        way: `"random_skip"` keeps each frame with a probability; `"uniform_skip"` keeps frames that
            are evenly spread.
        share: of the frames that are kept in the mean, 0 to 1. Evenly spread frames are a whole
            number: the next lower or higher one, drawn for each video so that the mean is right.
        num_decisions: T.

    Raises:
        ValueError: a share outside 0..1, or another way.
    """

    def __init__(self, agent: Agent | RandomOffsets, way: str, share: float, num_decisions: int):
        if way not in (RANDOM_SKIP, UNIFORM_SKIP):
            raise ValueError(f"frames are kept by {RANDOM_SKIP} or {UNIFORM_SKIP}, not {way!r}")
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{way} keeps a share of 0 to 1 of the frames, not {share:g}")
        self.agent = agent
        self._way = way
        self._share = share
        self._num_decisions = num_decisions

    @property
    def observation_space(self) -> Any:
        """Of the other agent, if it has one."""
        return getattr(self.agent, "observation_space", None)

    def focused(self, episode_seed: int) -> npt.NDArray[np.bool_]:
        """`(T,)`, which frames of an episode are looked at."""
        rng, count = episode_rng(episode_seed, Purpose.SKIP), self._num_decisions
        if self._way == RANDOM_SKIP:
            return np.asarray(rng.random(count) < self._share)
        wanted = self._share * count
        whole = math.floor(wanted)
        return evenly_spread(whole + int(rng.random() < wanted - whole), count)


def evenly_spread(chosen: int, count: int) -> npt.NDArray[np.bool_]:
    """`(count,)`, the middles of `chosen` equal parts of the frames."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[((np.arange(chosen) + 0.5) * count / max(chosen, 1)).astype(np.int64)] = True
    return mask
