"""What acting and learning have in common: the policy's pass over a rollout and its statistics.

The first epoch of an update would repeat the pass that drew the rollout's actions: the same
weights, the same observations, the same numbers. `RolloutCache` keeps that pass instead. With batch
normalisation the numbers are the same only if both are normalised by the rollout's own frames, all
in one batch: `rollout_statistics` acts so, `check_one_batch` refuses settings that learn otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import Observations


class RolloutCache:
    """What the policy makes of whole episodes, with the graph that gradients need.

    The pass is made in training mode, because cuDNN's GRU has no gradients otherwise; afterwards
    the policy is in evaluation mode.

    Args:
        policy: for which `trains_as_it_acts`.
        observations: `(N, T, ...)`.

    Attributes:
        distribution: of the actions, batch shape `(N, T)`.
        values: `(N, T)`.
    """

    def __init__(self, policy: GruActorCriticPolicy, observations: Observations):
        self._policy = policy
        self._observations = observations
        self._weights = _versions(policy)
        self._taken = False
        policy.set_training_mode(True)
        with torch.enable_grad():
            self.distribution, self.values = policy.evaluate_episodes(observations)
        policy.set_training_mode(False)

    def take(self, observations: Observations) -> bool:
        """Whether a loss of these observations can be made of `distribution` and `values`.

        Only once, only for the very tensor that the pass was over, and only while no weight has
        changed.
        """
        usable = (
            not self._taken
            and observations is self._observations
            and self._weights == _versions(self._policy)
        )
        self._taken |= usable
        return usable


def trains_as_it_acts(policy: GruActorCriticPolicy) -> bool:
    """Whether a pass is the same in training mode as in evaluation mode.

    A subclass is taken not to be: it may change whatever it likes.
    """
    dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in policy.modules())
    return type(policy) is GruActorCriticPolicy and not dropout and not _batch_norms(policy)


@contextmanager
def rollout_statistics(policy: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch, as the update will, without keeping them.

    Outside, the policy is as before; one without batch normalisation is the same inside.
    """
    norms = _batch_norms(policy)
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
            f"needs all {num_decisions} steps of its episodes at once, and here it would step, as "
            "closed loops always do: leave out the wrapper around the environment"
        )
    elif num_rows * num_decisions < 2:
        why = "needs statistics of two episodes at least: use more rows"
    if why is not None:
        raise ValueError(f"a policy with batch_norm=True {why}; or batch_norm=False")


def _batch_norms(policy: nn.Module) -> list[_BatchNorm]:
    return [module for module in policy.modules() if isinstance(module, _BatchNorm)]


def _versions(policy: GruActorCriticPolicy) -> list[tuple[int, int]]:
    """Where each weight lies and how often it was written in place."""
    return [(w.data_ptr(), w._version) for w in chain(policy.parameters(), policy.buffers())]
