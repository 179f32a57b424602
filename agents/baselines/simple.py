"""Agents that do not learn, behind SB3's `predict`: what a learned policy has to beat."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from adafocus_env.envs import EpisodeCore
from adafocus_env.seeding import Purpose, episode_rng
from agents.baselines.shown import Shown

State = tuple[npt.NDArray[Any], ...] | None


class Agent(Protocol):
    """SB3's `predict`: policies, algorithms and baseline agents all have it."""

    def predict(
        self,
        observation: Any,
        state: State = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        """Actions for a batch of observations, and the state to pass in next."""
        ...


@runtime_checkable
class SeededAgent(Protocol):
    """An agent whose chance belongs to the episode: results do not depend on the batch."""

    def begin_episodes(self, episode_seeds: Sequence[int]) -> None:
        """The rows' next calls of `predict` belong to the episodes with these seeds."""
        ...


class BaselineAgent(ABC):
    """SB3's `predict` for agents that do not learn; `deterministic` changes nothing."""

    def predict(
        self,
        observation: Any,
        state: State = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        """One action a row, or one action for one observation; and the state to pass in next.

        Args:
            observation: one or a batch: glances, or a closed loop's dict of parts.
            state: what the last call returned; None at the start.
            episode_start: `(N,)` bool, where a new episode begins.
            deterministic: without effect.

        Raises:
            ValueError: it is no such observation, or lacks what the agent looks at.
        """
        shown = Shown.of(observation)
        actions, state = self._remembering(shown, state, episode_start)
        return (actions if shown.batched else actions[0]), state

    def _remembering(
        self, shown: Shown, state: State, episode_start: npt.NDArray[Any] | None
    ) -> tuple[npt.NDArray[Any], State]:
        """Actions, and what is remembered: nothing, unless a subclass does."""
        return self.act(shown), None

    @abstractmethod
    def act(self, shown: Shown) -> npt.NDArray[Any]:
        """One action a row."""


class RandomAgent(BaselineAgent):
    """A uniformly random action.

    Args:
        action_space: of one row.
        seed: where no episode seeds are given.
    """

    def __init__(self, action_space: spaces.Space[Any], *, seed: int = 0):
        self._action_space = action_space
        self._rng = np.random.default_rng(seed)
        self._rows: list[np.random.Generator] = []

    def begin_episodes(self, episode_seeds: Sequence[int]) -> None:
        """Draw the rows' actions from their episodes' own streams."""
        self._rows = [episode_rng(seed, Purpose.ACTION) for seed in episode_seeds]

    def act(self, shown: Shown) -> npt.NDArray[Any]:
        """Drawn anew each time."""
        rngs = self._rows if len(self._rows) == shown.rows else [self._rng] * shown.rows
        return np.stack([self._draw(rng) for rng in rngs])

    def _draw(self, rng: np.random.Generator) -> Any:
        if isinstance(self._action_space, spaces.Discrete):
            return rng.integers(self._action_space.n)
        assert isinstance(self._action_space, spaces.Box)
        low, high = self._action_space.low, self._action_space.high
        return rng.uniform(low, high).astype(self._action_space.dtype)


class RandomOffsets:
    """Patches at random pixels, as the published stage 1 trains on and is validated on.

    No action of the grid stands for them, so this is no `Agent`: evaluation hands the offsets to
    the core. They are drawn as stage 1 draws them; the last offset never is.

    Args:
        core: whose episodes to look at.
    """

    def __init__(self, core: EpisodeCore):
        self._free = core.source.frame_size - core.source.patch_size
        self._num_decisions = core.num_decisions

    def offsets(self, episode_seed: int) -> npt.NDArray[np.int64]:
        """`(T, 2)` (top, left) pixels of one episode."""
        uniforms = episode_rng(episode_seed, Purpose.PATCH).random((self._num_decisions, 2))
        return (uniforms * self._free).astype(np.int64)


class FixedAgent(BaselineAgent):
    """Always the same action.

    Args:
        action: of one row.
    """

    def __init__(self, action: Any):
        self._action = np.asarray(action)

    def act(self, shown: Shown) -> npt.NDArray[Any]:
        """The action, once a row."""
        return np.repeat(self._action[None], shown.rows, axis=0)


class FrameCountingAgent(BaselineAgent):
    """Base of agents whose looks depend on which frame of its episode a row shows."""

    def _remembering(
        self, shown: Shown, state: State, episode_start: npt.NDArray[Any] | None
    ) -> tuple[npt.NDArray[Any], State]:
        """The look of each row's next frame; the state counts its frames."""
        frames = np.zeros(shown.rows, np.int64) if state is None else state[0]
        if episode_start is not None:
            frames = np.where(episode_start, 0, frames)
        return self.looks(frames), (frames + 1,)

    def act(self, shown: Shown) -> npt.NDArray[Any]:
        """Of first frames."""
        return self.looks(np.zeros(shown.rows, np.int64))

    @abstractmethod
    def looks(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """One action a row, which shows the frame of this number."""


class SweepAgent(FrameCountingAgent):
    """A raster over the frame, from left to right and from top to bottom, one patch a frame.

    As many lines and columns, evenly spread over the grid's, as the frames of an episode allow: 3x3
    positions with 8 frames, 4x4 with 16, the whole grid with G * G or more. After the last position
    it begins again.

    Args:
        core: whose grid and number of frames to sweep.
    """

    def __init__(self, core: EpisodeCore):
        side = core.grid.grid_size
        lines = min(math.ceil(math.sqrt(core.num_decisions)), side)
        places = np.linspace(0, side - 1, lines).round().astype(np.int64)
        self._path = actions_of_positions(core, (places[:, None] * side + places).ravel())

    def looks(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The next place of each row."""
        return self._path[frames % len(self._path)]


def actions_of_positions(core: EpisodeCore, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The actions that look at grid positions, in whatever way the core takes actions.

    Args:
        core: its `locations` decide.
        positions: `(...)` in `0..G*G - 1`.

    Returns:
        `(...)` int64, or for continuous locations `(..., 2)` float32.
    """
    if isinstance(core.locations.action_space, spaces.Discrete):
        return positions
    free = max(core.source.frame_size - core.source.patch_size, 1)
    offsets = core.grid.offsets(torch.from_numpy(positions)).numpy()
    # The middle of what is rounded down to the offset: float32 cannot miss it.
    fractions = (offsets + 0.5) / free
    return np.asarray(fractions.clip(max=1.0).astype(np.float32))


def center_agent(core: EpisodeCore) -> FixedAgent:
    """Always the patch nearest the middle; the upper left of the four where G is even."""
    if isinstance(core.locations.action_space, spaces.Discrete):
        return FixedAgent(np.int64(core.grid.center_action))
    return FixedAgent(np.array([0.5, 0.5], np.float32))
