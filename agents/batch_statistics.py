"""Batch normalisation in a policy: by what a rollout's episodes are normalised, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def rollout_statistics(policy: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch, as the update will, without keeping them.

    Outside, the policy is as before; one without batch normalisation is the same inside.
    """
    norms = [module for module in policy.modules() if isinstance(module, _BatchNorm)]
    before = [norm.training for norm in norms]
    for norm in norms:
        norm.train()
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, training in zip(norms, before, strict=True):
            norm.train(training)
            norm.track_running_stats = True


def check_one_batch(
    *,
    num_rows: int,
    num_decisions: int,
    episodes_per_row: int,
    batch_episodes: int | None,
    num_processes: int,
    plays: bool,
) -> None:
    """Refuse settings under which a policy would learn under other statistics than it acted under.

    Its probability ratios would then differ from 1 before anything has been learned.

    Args:
        num_rows: N.
        num_decisions: T.
        episodes_per_row: in a rollout.
        batch_episodes: in a minibatch; None is all.
        num_processes: that train together.
        plays: whether rollouts are whole episodes in one pass.

    Raises:
        ValueError: the message says which setting and the cure.
    """
    why = None
    if num_processes > 1:
        why = "trains in one process: start it without torchrun"
    elif episodes_per_row > 1:
        why = f"needs episodes_per_row=1, not {episodes_per_row}: each pass has its own statistics"
    elif batch_episodes is not None and batch_episodes < num_rows:
        why = f"needs the rollout's {num_rows} episodes in one batch: batch_episodes={num_rows}"
    elif not plays and num_decisions > 1:
        why = (
            f"needs all {num_decisions} steps of its episodes at once, and here it would step: "
            "leave out the wrapper around the environment"
        )
    elif num_rows * num_decisions < 2:
        why = "needs statistics of two episodes at least: use more rows"
    if why is not None:
        raise ValueError(f"a policy with batch_norm=True {why}; or batch_norm=False")
