"""LookAndOthers: what other looks would have brought, from the same classifier states."""

from __future__ import annotations

import torch
from torch import Tensor

from adafocus_env.features.source import EpisodeFeatures

# Patches whose features are in memory together where all positions are compared.
_PATCHES_AT_ONCE = 1024


class OtherLooks:
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


class LookAndOthers:
    """M looks and what others would have brought (see `rewards.WhatIf`).

    Args:
        others: from the states before the looks.
        positions: `(A, 2)` offsets of the grid.
        confidence: `(M,)` that the looks have brought.
        kept: `(M,)` bool.
        previous_confidence: `(M,)`.
        random_vectors: `(M, F)` of the random patches, where they are compared with.
        no_vectors: `(M, F)` zeros.
    """

    def __init__(
        self,
        others: OtherLooks,
        positions: Tensor,
        *,
        confidence: Tensor,
        kept: Tensor,
        previous_confidence: Tensor,
        random_vectors: Tensor | None,
        no_vectors: Tensor,
    ):
        self.confidence = confidence
        self.kept = kept
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
