"""KeptPass: the policy's pass over a rollout, from which an update's first epoch can start."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor
from torch.distributions import Categorical

from agents.gru_policy import GruActorCriticPolicy


class KeptPass:
    """What the policy makes of whole episodes, with the graph that gradients need.

    The first epoch of an update would repeat the pass that drew the rollout's actions: the same
    weights, the same observations, the same numbers. Only for a policy that does the same in
    training mode as in evaluation mode. The pass is made in training mode, because cuDNN's GRU has
    no gradients otherwise; afterwards the policy is in evaluation mode.

    Args:
        policy: whose pass it is.
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

    def take(self, observations: Tensor) -> tuple[Categorical, Tensor] | None:
        """Distribution and values, once.

        Args:
            observations: what they are needed of.

        Returns:
            None if they have been taken, if they are not of this very tensor, or if a weight has
            changed.
        """
        if (
            self._taken
            or observations is not self._observations
            or self._weights != _versions(self._policy)
        ):
            return None
        self._taken = True
        return self.distribution, self.values


def _versions(policy: GruActorCriticPolicy) -> list[tuple[int, int]]:
    """Where each weight lies and how often it was written in place."""
    return [(w.data_ptr(), w._version) for w in chain(policy.parameters(), policy.buffers())]
