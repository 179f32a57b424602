"""Rewards: the confidence that a step brings, minus what another choice would have brought.

Confidence is the softmax probability of the true class after the step. The reward of a step is
`confidence - REWARDS[name](others)`: the functions here differ only in what is subtracted, the
reward baseline. `information` subtracts logarithms. Where looks have a price, `look_costs` are
subtracted as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adafocus_env.envs.actions import PatchGrid
from adafocus_env.features.source import EpisodeFeatures
from adafocus_env.seeding import Purpose, episode_rng

# Patches whose features are in memory together where all positions are compared.
_PATCHES_AT_ONCE = 1024
# `information` takes confidences below for this: one sure mistake shall not outweigh a rollout.
LOWEST_CONFIDENCE = 1e-4


@dataclass(frozen=True)
class Counterfactuals:
    """Choices at M (row, step) pairs, and the confidence that others would have brought.

    Others start from the classifier's state before the step, which is left as it is.

    Attributes:
        features: of the running episodes.
        rows: `(M,)` int64, on the CPU.
        steps: `(M,)` int64, on the CPU.
        state: `(M, S)` of the classifier before the steps.
        grid: the positions of `at_all_positions`.
        patch_vectors: `(M, F)` of the choices; zeros where the frame was skipped.
        random_vectors: `(M, F)` at the steps' random offsets; None where no reward asks for them.
        focused: `(M,)` bool; False where the frame was skipped.
        confidence: `(M,)` that the choices have brought.
        previous_confidence: `(M,)` after the step before; `prior_confidence` at the first step.
    """

    features: EpisodeFeatures
    rows: Tensor
    steps: Tensor
    state: Tensor
    grid: PatchGrid
    patch_vectors: Tensor
    random_vectors: Tensor | None
    focused: Tensor
    confidence: Tensor
    previous_confidence: Tensor

    def at_random_offset(self) -> Tensor:
        """`(M,)` confidence with the patch at the step's random offset."""
        assert self.random_vectors is not None
        return self._with(self.random_vectors)

    def at_all_positions(self) -> Tensor:
        """`(M, A)` confidence with the patch at each grid position."""
        return confidences_at(self.features, self.rows, self.steps, self.state, self.grid)

    def without_patch(self) -> Tensor:
        """`(M,)` confidence with zeros for the patch vector."""
        return self._with(torch.zeros_like(self.patch_vectors))

    def _with(self, patch_vectors: Tensor) -> Tensor:
        logits, _ = self.features.classify(self.rows, self.steps, patch_vectors, self.state)
        return true_confidence(self.features, self.rows, logits)


def random(others: Counterfactuals) -> Tensor:
    """Confidence of one random patch (published default): rewards what choosing brings."""
    return others.at_random_offset()


def expected(others: Counterfactuals) -> Tensor:
    """Mean confidence over all grid positions: `random` on the grid without its noise."""
    return others.at_all_positions().mean(dim=1)


def padding(others: Counterfactuals) -> Tensor:
    """Confidence without any patch. The published code names it but cannot run it."""
    return others.without_patch()


def prev(others: Counterfactuals) -> Tensor:
    """Confidence after the previous step; rewards of an episode add up to its last confidence."""
    return others.previous_confidence


def information(others: Counterfactuals) -> Tensor:
    """Confidence after the previous step, 1 / K at the first: rewards are differences of logs."""
    return others.previous_confidence


def conf(others: Counterfactuals) -> Tensor:
    """Nothing: the reward is the confidence."""
    return torch.zeros_like(others.previous_confidence)


def skip(others: Counterfactuals) -> Tensor:
    """Confidence of skipping the frame (AdaFocus+): what a look brings beyond the glance.

    It is `padding`, but for skipped frames exactly their own confidence: their reward is 0.0.
    """
    return torch.where(others.focused, others.without_patch(), others.confidence)


REWARDS: dict[str, Callable[[Counterfactuals], Tensor]] = {
    "random": random,
    "expected": expected,
    "padding": padding,
    "prev": prev,
    "conf": conf,
    "skip": skip,
    "information": information,
}


def reward_baseline(name: str) -> Callable[[Counterfactuals], Tensor]:
    """What a reward subtracts.

    Raises:
        ValueError: an unknown reward.
    """
    if name not in REWARDS:
        raise ValueError(f"unknown reward {name!r}; known are {', '.join(REWARDS)}")
    return REWARDS[name]


def prior_confidence(name: str, num_classes: int) -> float:
    """The confidence before the first step: of knowing nothing in `information`, else 0."""
    return 1.0 / num_classes if name == "information" else 0.0


def gained(name: str, confidence: Tensor, baseline: Tensor) -> Tensor:
    """`(M,)` the reward before costs: a difference of confidences, or of their logs in nats.

    The logs add up: an episode's are those of its last confidence and of 1 / K, whatever came
    between.
    """
    if name != "information":
        return confidence - baseline
    return (
        confidence.clamp(min=LOWEST_CONFIDENCE).log() - baseline.clamp(min=LOWEST_CONFIDENCE).log()
    )


def look_costs(focused: Tensor, skip_costs: Tensor) -> Tensor:
    """`(M,)` the price of a look where the frame was focused on, and 0 where it was skipped.

    Args:
        focused: `(M,)` bool.
        skip_costs: `(M,)` in units of confidence.
    """
    return skip_costs * focused


def random_offsets(
    episode_seeds: Sequence[int], num_steps: int, grid: PatchGrid, *, positions: str
) -> Tensor:
    """`(M, T, 2)` offsets of the random patches of M episodes; those of one are drawn at once.

    Args:
        episode_seeds: M of them.
        num_steps: T.
        grid: the positions, and the frames and patches that they are for.
        positions: `"grid"`, or `"pixel"`: offsets 0 to `side - P - 1`, as published; the last one
            that fits is never drawn.
    """
    limit = grid.grid_size if positions == "grid" else max(grid.frame_size - grid.patch_size, 1)
    drawn = torch.empty(len(episode_seeds), num_steps, 2, dtype=torch.int64)
    for place, seed in zip(drawn.numpy(), episode_seeds, strict=True):
        place[:] = episode_rng(seed, Purpose.BASELINE).integers(0, limit, size=place.shape)
    if positions == "grid":
        return grid.offsets(drawn[..., 0] * grid.grid_size + drawn[..., 1])
    return drawn


def true_confidence(features: EpisodeFeatures, rows: Tensor, logits: Tensor) -> Tensor:
    """`(M,)` softmax probability of each row's true class."""
    labels = features.labels[rows.to(logits.device)]
    return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]


def confidences_at(
    features: EpisodeFeatures, rows: Tensor, steps: Tensor, state: Tensor, grid: PatchGrid
) -> Tensor:
    """`(M, A)` confidence of (row, step) pairs with the patch at each position of a grid.

    Args:
        features: of the running episodes.
        rows: `(M,)` int64, on the CPU.
        steps: `(M,)` int64, on the CPU.
        state: `(M, S)` of the classifier before the steps; left as it is.
        grid: A positions.
    """
    positions = grid.all_offsets()
    count = len(positions)
    at_once = max(1, _PATCHES_AT_ONCE // count)
    confidences = []
    parts = zip(*(values.split(at_once) for values in (rows, steps, state)), strict=True)
    for row, step, before in parts:
        each_row, each_step = row.repeat_interleave(count), step.repeat_interleave(count)
        vectors = features.focus(each_row, each_step, positions.repeat(len(row), 1))
        logits = features.classify_each(row, step, vectors.unflatten(0, (-1, count)), before)
        each = true_confidence(features, each_row, logits.flatten(0, 1))
        confidences.append(each.view(-1, count))
    return torch.cat(confidences)
