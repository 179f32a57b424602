"""Agents that know the label: references for measuring policies by, not upper bounds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.envs import EpisodeCore
from adafocus_env.envs.lookahead import (
    confidences_at_all_positions,
    confidences_of,
    patch_vectors_at_all_positions,
)
from agents.baselines.shown import Shown, check_rows
from agents.baselines.simple import BaselineAgent


class CoreWatcher(BaselineAgent):
    """Base of the agents that know more than a policy may: references, not upper bounds.

    They watch the core instead of observations, so their `predict` calls must alternate with its
    steps.

    Args:
        core: the running episodes.

    Raises:
        ValueError: the core takes no grid actions.
    """

    def __init__(self, core: EpisodeCore):
        if not isinstance(core.locations.action_space, spaces.Discrete):
            raise ValueError("oracles choose grid positions; use locations='grid'")
        self.core = core

    def act(self, shown: Shown) -> npt.NDArray[Any]:
        """For the core's rows at their current steps; what is observed is not used.

        Raises:
            ValueError: asked about another number of rows.
        """
        check_rows(self.core, shown.rows)
        return self.looks()

    @abstractmethod
    def looks(self) -> npt.NDArray[Any]:
        """One action a row of the core, at its current step."""


class Oracle(CoreWatcher):
    """Base of those that try every position, at each step after each of `width` sequences."""

    width = 1


class GreedyOracle(Oracle):
    """At each step the grid position of highest true-class confidence; it knows the label.

    A reference, not an upper bound: a patch that raises confidence now may serve later steps less.
    It tries all positions, G * G patches a step.
    """

    def looks(self) -> npt.NDArray[Any]:
        """The best positions of the core's rows at their current steps."""
        return confidences_at_all_positions(self.core).argmax(dim=1).cpu().numpy()


class BeamOracle(Oracle):
    """Beam search over an episode's looks for the highest sum of true-class confidences.

    That sum is the return of `reward="conf"`; other rewards subtract something that depends on the
    looks before, so the best sum need not be their best return. At every step each of the `width`
    best sequences so far is continued by all grid positions, and the `width` best of these are
    kept. Width 1 is the greedy oracle. The search is not exhaustive, and a wider one can end lower:
    it is no upper bound.

    Patch features do not depend on earlier looks, so it focuses on G * G patches a frame whatever
    the width; the classifier takes `width` times as many steps.

    Args:
        core: the running episodes.
        width: sequences that are kept.

    Raises:
        ValueError: a width below 1, or the core takes no grid actions.
    """

    def __init__(self, core: EpisodeCore, width: int):
        super().__init__(core)
        if width < 1:
            raise ValueError(f"a beam keeps at least one sequence, got width {width}")
        self.width = width
        self._plan: npt.NDArray[np.int64] | None = None

    def looks(self) -> npt.NDArray[Any]:
        """The planned looks of the core's rows at their current step.

        Raises:
            ValueError: asked in the middle of episodes whose beginning it has not seen, or of rows
                that are not at the same step.
        """
        step = int(self.core.steps[0])
        if bool((self.core.steps != step).any()) or (step > 0 and self._plan is None):
            raise ValueError("the beam oracle plans whole episodes: ask it from their first frame")
        if step == 0:
            self._plan = self.plan().cpu().numpy()
        assert self._plan is not None
        return self._plan[:, step]

    def plan(self) -> Tensor:
        """`(N, T)` int64 actions for the episodes of the core's rows, which are left as they are.

        Raises:
            gymnasium.error.ResetNeeded: a row is not at its first frame.
        """
        core = self.core
        core.require_at_start("plan")
        device = core.source.device
        # One empty sequence; later up to `width` of them, the best first.
        states = torch.zeros(core.num_rows, 1, core.source.state_size, device=device)
        sums = torch.zeros(core.num_rows, 1, device=device)
        looks = torch.zeros(core.num_rows, 1, 0, dtype=torch.int64, device=device)
        for step in range(core.num_decisions):
            gains, after = self._continue(step, states)
            count = gains.shape[2]
            totals = (sums[:, :, None] + gains).flatten(1)
            sums, best = totals.topk(min(self.width, totals.shape[1]), dim=1)
            states = after.flatten(1, 2).gather(1, best[:, :, None].expand(-1, -1, after.shape[3]))
            before = looks.gather(1, (best // count)[:, :, None].expand(-1, -1, looks.shape[2]))
            looks = torch.cat([before, (best % count)[:, :, None]], dim=2)
        return looks[:, 0]

    def _continue(self, step: int, states: Tensor) -> tuple[Tensor, Tensor]:
        """Every position after every sequence.

        Args:
            step: of the frame.
            states: `(N, B, S)` of the classifier.

        Returns:
            confidences `(N, B, A)` and states `(N, B, A, S)`.
        """
        vectors = patch_vectors_at_all_positions(self.core, step)
        shape = vectors.shape[:2]
        rows = torch.arange(shape[0]).repeat_interleave(shape[1])
        gains, after = [], []
        for state in states.unbind(dim=1):  # one sequence at a time bounds the memory
            repeated = state.repeat_interleave(shape[1], dim=0)
            confidences, new = confidences_of(
                self.core, rows, step, vectors.flatten(0, 1), repeated
            )
            gains.append(confidences.view(shape))
            after.append(new.view(*shape, -1))
        return torch.stack(gains, dim=1), torch.stack(after, dim=1)
