"""Outcome: what looks brought."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """What looking brought: of one step, leading shape `(N,)`, or of whole episodes, `(N, T)`.

    Attributes:
        rewards: float32.
        confidences: softmax probability of the true class.
        baseline_confidences: what the reward subtracts from it; 0 for the reward `conf`.
        logits: `(..., K)`.
        predicted_labels: int64.
        offsets: `(..., 2)` int64 (top, left) corners of the patches in pixels, on the CPU; (0, 0)
            in skipped frames.
        kept: bool, on the CPU; False in skipped frames, which no patch was cut from.
        steps: int64, index of the frame in the clip, on the CPU.
    """

    rewards: Tensor
    confidences: Tensor
    baseline_confidences: Tensor
    logits: Tensor
    predicted_labels: Tensor
    offsets: Tensor
    kept: Tensor
    steps: Tensor
