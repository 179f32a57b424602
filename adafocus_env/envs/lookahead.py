"""What looks would bring, with the label known: for references that policies are measured by."""

from __future__ import annotations

import torch
from torch import Tensor

from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.rewards import confidences_at, true_confidence


def confidences_at_all_positions(core: EpisodeCore) -> Tensor:
    """`(N, A)` confidence that each grid position would give at each row's current step."""
    core.require_started()
    rows = torch.arange(core.num_rows)
    return confidences_at(core.features, rows, core.frame_steps, core.classifier_state, core.grid)


def patch_vectors_at_all_positions(core: EpisodeCore, step: int) -> Tensor:
    """`(N, A, F)` features of the patch at each grid position of each row's frame `step`.

    They depend on no look before, so a search over looks pays for them once a frame.
    """
    core.require_started()
    positions = core.grid.all_offsets()
    rows = torch.arange(core.num_rows).repeat_interleave(len(positions))
    steps = torch.full_like(rows, step // core.looks_per_frame)
    vectors = core.features.focus(rows, steps, positions.repeat(core.num_rows, 1))
    return vectors.view(core.num_rows, len(positions), -1)


def confidences_of(
    core: EpisodeCore, rows: Tensor, step: int, patch_vectors: Tensor, states: Tensor
) -> tuple[Tensor, Tensor]:
    """What looks from other classifier states would bring.

    Args:
        core: the running episodes.
        rows: `(M,)` int64, on the CPU.
        step: of the frame.
        patch_vectors: `(M, F)`.
        states: `(M, S)` before the looks.

    Returns:
        true-class confidences `(M,)` and states `(M, S)` after them.
    """
    steps = torch.full_like(rows, step // core.looks_per_frame)
    logits, after = core.features.classify(rows, steps, patch_vectors, states)
    return true_confidence(core.features, rows, logits), after
