"""KeptPass: the policy's pass over a rollout, from which an update's first epoch can start."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from agents.gru_policy import GruActorCriticPolicy


class KeptPass:
    """What the policy makes of whole episodes, with the graph that gradients need.

    The first epoch of an update would repeat the pass that drew the rollout's actions: the same
    weights, the same observations, the same numbers. The pass is made in training mode, because
    cuDNN's GRU has no gradients otherwise; afterwards the policy is in evaluation mode.

    Args:
        policy: for which `trains_as_it_acts`.
        observations: `(N, T, ...)`.

    Attributes:
        distribution: of the actions, batch shape `(N, T)`.
        values: `(N, T)`.
    """

    def __init__(self, policy: GruActorCriticPolicy, observations: Tensor):
        self._policy = policy
        self._observations = observations
        self._weights = _versions(policy)
        self._taken = False
        policy.set_training_mode(True)
        with torch.enable_grad():
            self.distribution, self.values = policy.evaluate_episodes(observations)
        policy.set_training_mode(False)

    def take(self, observations: Tensor) -> bool:
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

    A subclass is taken not to be: it may have dropout.
    """
    known = type(policy) is GruActorCriticPolicy
    return known and not any(isinstance(module, _BatchNorm) for module in policy.modules())


def _versions(policy: GruActorCriticPolicy) -> list[tuple[int, int]]:
    """Where each weight lies and how often it was written in place."""
    return [(w.data_ptr(), w._version) for w in chain(policy.parameters(), policy.buffers())]
