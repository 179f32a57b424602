"""Rewards: the confidence a look brings, minus what is subtracted from it.

The reward of a step is `confidence - REWARDS[name](what_if)`, where confidence is the softmax
probability of the true class after the step. The functions here differ only in what is subtracted,
the reward baseline (REFERENCE section 3A). Where frames can be skipped, `look_costs` are subtracted
as well, whatever the reward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from adafocus_env.features.source import EpisodeFeatures


class WhatIf(Protocol):
    """What the confidence would have been at M (row, step) pairs, had the look been another one.

    Always from the classifier state before the step, which is left as it is.

    Attributes:
        confidence: `(M,)` what the look has brought.
        focused: `(M,)` bool; False where the frame was skipped.
        previous_confidence: `(M,)` confidence after the step before; 0 at the first step.
    """

    confidence: Tensor
    focused: Tensor
    previous_confidence: Tensor

    def at_random_offset(self) -> Tensor:
        """`(M,)` confidence with the patch at the step's random offset."""
        ...

    def at_all_positions(self) -> Tensor:
        """`(M, A)` confidence with the patch at each grid position."""
        ...

    def without_patch(self) -> Tensor:
        """`(M,)` confidence with zeros for the patch vector."""
        ...


def random(what_if: WhatIf) -> Tensor:
    """Confidence of one random patch (published default): rewards what choosing brings."""
    return what_if.at_random_offset()


def expected(what_if: WhatIf) -> Tensor:
    """Mean confidence over all grid positions: `random` on the grid without its noise."""
    return what_if.at_all_positions().mean(dim=1)


def padding(what_if: WhatIf) -> Tensor:
    """Confidence without any patch. The published code names it but cannot run it."""
    return what_if.without_patch()


def prev(what_if: WhatIf) -> Tensor:
    """Confidence after the previous step; rewards of an episode add up to its last confidence."""
    return what_if.previous_confidence


def conf(what_if: WhatIf) -> Tensor:
    """Nothing: the reward is the confidence."""
    return what_if.previous_confidence.new_zeros(what_if.previous_confidence.shape)


def skip(what_if: WhatIf) -> Tensor:
    """Confidence of skipping the frame (AdaFocus+): what a look brings beyond the glance.

    It is `padding`, but for skipped frames exactly their own confidence: their reward is 0.0.
    """
    return torch.where(what_if.focused, what_if.without_patch(), what_if.confidence)


def look_costs(focused: Tensor, skip_costs: Tensor) -> Tensor:
    """`(M,)` the price of a look where the frame was focused on, and 0 where it was skipped.

    Args:
        focused: `(M,)` bool.
        skip_costs: `(M,)` in units of confidence.
    """
    return skip_costs * focused


REWARDS: dict[str, Callable[[WhatIf], Tensor]] = {
    "random": random,
    "expected": expected,
    "padding": padding,
    "prev": prev,
    "conf": conf,
    "skip": skip,
}


# Patches whose features are in memory together where all positions are compared.
_PATCHES_AT_ONCE = 1024


class Counterfactuals:
    """Other looks at M (row, step) pairs, without the looks themselves.

    Args:
        features: of the running episodes.
        rows: `(M,)` int64, on the CPU.
        steps: `(M,)` int64, on the CPU.
        state: `(M, S)` of the classifier before the looks; left as it is.
    """

    def __init__(self, features: EpisodeFeatures, rows: Tensor, steps: Tensor, state: Tensor):
        self._features = features
        self._rows = rows
        self._steps = steps
        self._state = state

    def at_all(self, positions: Tensor) -> Tensor:
        """`(M, A)` confidence with the patch at each of the offsets `(A, 2)`."""
        at_once = max(1, _PATCHES_AT_ONCE // len(positions))
        pairs = (self._rows, self._steps, self._state)
        parts = zip(*(part.split(at_once) for part in pairs), strict=True)
        return torch.cat([self._at_all(positions, *part) for part in parts])

    def with_patch_vectors(self, vectors: Tensor) -> Tensor:
        """`(M,)` confidence with other patch vectors `(M, F)`."""
        logits, _ = self._features.classify(self._rows, self._steps, vectors, self._state)
        return true_confidence(self._features, self._rows, logits)

    def _at_all(self, positions: Tensor, rows: Tensor, steps: Tensor, state: Tensor) -> Tensor:
        features, count = self._features, len(positions)
        each_row = rows.repeat_interleave(count)
        vectors = features.focus(
            each_row, steps.repeat_interleave(count), positions.repeat(len(rows), 1)
        )
        logits = features.classify_each(rows, steps, vectors.view(len(rows), count, -1), state)
        return true_confidence(features, each_row, logits.flatten(0, 1)).view(-1, count)


class ChosenAndOthers:
    """M looks and what others would have brought (see `rewards.WhatIf`).

    Args:
        others: from the states before the looks.
        positions: `(A, 2)` offsets of the grid.
        confidence: `(M,)` that the looks have brought.
        focused: `(M,)` bool.
        previous_confidence: `(M,)`.
        random_vectors: `(M, F)` of the random patches, where they are compared with.
        no_vectors: `(M, F)` zeros.
    """

    def __init__(
        self,
        others: Counterfactuals,
        positions: Tensor,
        *,
        confidence: Tensor,
        focused: Tensor,
        previous_confidence: Tensor,
        random_vectors: Tensor | None,
        no_vectors: Tensor,
    ):
        self.confidence = confidence
        self.focused = focused
        self.previous_confidence = previous_confidence
        self._others = others
        self._positions = positions
        self._random_vectors = random_vectors
        self._no_vectors = no_vectors

    def at_random_offset(self) -> Tensor:
        """`(M,)` with the patch at the step's random offset."""
        assert self._random_vectors is not None
        return self._others.with_patch_vectors(self._random_vectors)

    def at_all_positions(self) -> Tensor:
        """`(M, A)` with the patch at each grid position."""
        return self._others.at_all(self._positions)

    def without_patch(self) -> Tensor:
        """`(M,)` with zeros for the patch vector."""
        return self._others.with_patch_vectors(self._no_vectors)


def true_confidence(features: EpisodeFeatures, rows: Tensor, logits: Tensor) -> Tensor:
    """`(M,)` softmax probability of each row's true class."""
    labels = features.labels[rows.to(logits.device)]
    return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
