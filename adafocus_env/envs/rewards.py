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


class WhatIf(Protocol):
    """What the confidence would have been at M (row, step) pairs, had the look been another one.

    Always from the classifier state before the step, which is left as it is.

    Attributes:
        confidence: `(M,)` what the look has brought.
        kept: `(M,)` bool; False where the frame was skipped.
        previous_confidence: `(M,)` confidence after the step before; 0 at the first step.
    """

    confidence: Tensor
    kept: Tensor
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
    return torch.where(what_if.kept, what_if.without_patch(), what_if.confidence)


def look_costs(kept: Tensor, skip_costs: Tensor) -> Tensor:
    """`(M,)` the price of a look where the frame was focused on, and 0 where it was skipped.

    Args:
        kept: `(M,)` bool.
        skip_costs: `(M,)` in units of confidence.
    """
    return skip_costs * kept


REWARDS: dict[str, Callable[[WhatIf], Tensor]] = {
    "random": random,
    "expected": expected,
    "padding": padding,
    "prev": prev,
    "conf": conf,
    "skip": skip,
}
