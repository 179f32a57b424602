"""Which position it would be best to look at always."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from adafocus_env.envs.rewards import true_confidence
from adafocus_env.features import all_pairs
from adafocus_env.seeding import derive_episode_seed
from agents.evaluation import VectorEnvironment


def constant_look_confidences(
    env: VectorEnvironment,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float64]:
    """What looking at one position in all frames brings, for every position of the grid.

    Of a training split the largest is `best_fixed`, a baseline that needs no label at test time.
    All positions of every frame go through the focuser once, as for the oracles.

    Args:
        env: the split, made with `autoreset_mode="disabled"`.
        seed: of the clips, as in `evaluate_agent`.
        progress: called with the number of videos done in each batch.

    Returns:
        `(V, A)` confidence in the true class, mean over the frames.
    """
    core, count = env.core, env.num_envs
    offsets = core.grid.all_offsets()
    rows, steps = all_pairs(count, env.num_decisions)
    found = np.zeros((env.num_videos, len(offsets)))
    for first in range(0, env.num_videos, count):
        videos = np.arange(first, first + count).clip(max=env.num_videos - 1)
        seeds = np.array([derive_episode_seed(seed, int(v), 0) for v in videos], dtype=np.uint64)
        env.reset(seed=seed, options={"video_index": videos, "episode_seed": seeds})
        for position, offset in enumerate(offsets):
            vectors = core.features.focus(rows, steps, offset.expand(len(rows), 2))
            logits, _ = core.features.classify_sequence(vectors.unflatten(0, (count, -1)))
            each = true_confidence(core.features, rows, logits.flatten(0, 1)).view(count, -1)
            found[videos, position] = each.mean(dim=1).double().cpu().numpy()
        if progress is not None:
            progress(len(np.unique(videos)))
    return found
