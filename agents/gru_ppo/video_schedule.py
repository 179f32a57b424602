"""VideoSchedule: every video once an epoch, over all rows of a vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class VideoSchedule:
    """Batches of video indices from a shuffled order that is drawn anew each epoch.

    An epoch is `floor(videos / batch)` batches; the rest of the order is left out, as the published
    training loader does. A batch larger than the split takes several whole orders.

    Args:
        num_videos: V.
        batch: N, indices of a batch.
        seed: of the orders.
    """

    def __init__(self, num_videos: int, batch: int, seed: int):
        self._num_videos = num_videos
        self._batch = batch
        self._rng = np.random.default_rng(np.random.SeedSequence([seed, num_videos]))
        self._left: list[npt.NDArray[np.int64]] = []

    def next(self) -> npt.NDArray[np.int64]:
        """`(N,)` indices."""
        if not self._left:
            orders = -(-self._batch // self._num_videos)
            order = np.concatenate([self._rng.permutation(self._num_videos) for _ in range(orders)])
            whole = len(order) // self._batch * self._batch
            self._left = np.split(order[:whole], whole // self._batch)
        return self._left.pop(0)

    def state(self) -> dict[str, Any]:
        """Where the schedule is, of JSON types."""
        return {
            "random": self._rng.bit_generator.state,
            "left": [batch.tolist() for batch in self._left],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._rng.bit_generator.state = state["random"]
        self._left = [np.array(batch, dtype=np.int64) for batch in state["left"]]
