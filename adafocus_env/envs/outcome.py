"""What looking brought: of one step of all rows, or of whole episodes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from torch import Tensor

InfoArrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Outcome:
    """One step, leading shape `(N,)`, or whole episodes, `(N, T)`.

    Attributes:
        rewards: float32.
        confidences: softmax probability of the true class.
        baseline_confidences: what the reward subtracts from it; 0 for the reward `conf`.
        logits: `(..., K)`.
        predicted_labels: int64.
        offsets: `(..., 2)` int64 (top, left) corners of the patches in pixels, on the CPU; (0, 0)
            in skipped frames.
        focused: bool, on the CPU; False in skipped frames, which no patch was cut from.
        steps: int64, index of the frame in the clip, on the CPU.
        patch_vectors: `(..., F)` features of the patches; zeros in skipped frames.
    """

    rewards: Tensor
    confidences: Tensor
    baseline_confidences: Tensor
    logits: Tensor
    predicted_labels: Tensor
    offsets: Tensor
    focused: Tensor
    steps: Tensor
    patch_vectors: Tensor


@dataclass(frozen=True)
class EpisodeResult(Outcome):
    """`Outcome` of whole episodes, leading shape `(N, T)`, with the infos of all steps.

    Attributes:
        infos: arrays `(N, T, ...)` by the names of the single environment's info; `is_success` is
            `(N,)`.
    """

    infos: InfoArrays


@dataclass(frozen=True)
class LoopResult(EpisodeResult):
    """`EpisodeResult` of a closed loop, in which an action may have ended episodes.

    Attributes:
        running: `(N, T)` bool, on the CPU: False after an episode has ended. There rewards are 0,
            nothing is focused, and all else is as at the end.
    """

    running: Tensor
