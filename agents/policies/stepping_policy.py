"""SteppingPolicy: what SB3 asks of a policy, where the state is an argument and a result."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from agents.policies.distributions import ActionDistribution, ActionHead, PolicyStep
from agents.policies.observations import Observations, count


class SteppingPolicy(BasePolicy):
    """Base: a subclass says what the state is and what its networks make of it.

    Attributes:
        head: makes distributions of what the networks put out.
    """

    head: ActionHead
    _arguments: dict[str, Any]  # of the constructor, beyond spaces, learning rate and optimizer

    @abstractmethod
    def initial_state(self, num_rows: int) -> Tensor:
        """`(N, S)`, before an episode."""

    @abstractmethod
    def _act(
        self, observations: Observations, policy_state: Tensor
    ) -> tuple[ActionDistribution, Tensor, Tensor]:
        """The distribution of `(N,)` actions, values `(N,)`, and the state `(N, S)` after them."""

    def step(
        self,
        observations: Observations,
        policy_state: Tensor,
        episode_starts: Tensor,
        *,
        uniforms: Tensor | None = None,
        deterministic: bool = False,
    ) -> PolicyStep:
        """Act on one observation in each row.

        Args:
            observations: `(N, ...)`.
            policy_state: `(N, S)` after the step before.
            episode_starts: `(N,)` bool; where True the state is taken as zero.
            uniforms: `(N,)` or `(N, 2)` in [0, 1), whose inverse CDF the actions are. None draws
                from torch's generator.
            deterministic: take the most probable action.
        """
        state = policy_state * ~episode_starts[:, None]
        distribution, values, last = self._act(observations, state)
        if deterministic:
            actions = distribution.best()
        else:
            if uniforms is None:
                uniforms = torch.rand(len(values), *self.head.uniform_shape, device=values.device)
            actions = distribution.draw(uniforms)
        return PolicyStep(actions, values, distribution.log_prob(actions), last)

    def forward(
        self, obs: Observations, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """First step of an episode: actions, values, log-probabilities (SB3's signature)."""
        rows = count(obs)
        starts = torch.ones(rows, dtype=torch.bool, device=self.device)
        step = self.step(obs, self.initial_state(rows), starts, deterministic=deterministic)
        return step.actions, step.values, step.log_probs

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """SB3's predict: actions and the new state, to be passed in again.

        Args:
            observation: one observation or a batch of them.
            state: what the last call returned; None at the start.
            episode_start: `(N,)` bool, where a new episode begins. May be left out only together
                with `state`.
            deterministic: take the most probable action.

        Raises:
            ValueError: a state without `episode_start`: memory would leak between episodes.
        """
        if state is not None and episode_start is None:
            raise ValueError("a recurrent policy needs episode_start together with state")
        self.set_training_mode(False)
        observations, batched = self.obs_to_tensor(observation)
        rows = count(observations)
        if state is None:
            policy_state = self.initial_state(rows)
            starts = torch.ones(rows, dtype=torch.bool, device=self.device)
        else:
            assert episode_start is not None
            policy_state = torch.as_tensor(state[0], device=self.device)
            flags = np.atleast_1d(np.asarray(episode_start, dtype=bool))
            starts = torch.as_tensor(flags, device=self.device)
        with torch.no_grad():
            step = self.step(observations, policy_state, starts, deterministic=deterministic)
        actions = self.head.within_bounds(step.actions).cpu().numpy()
        return actions if batched else actions[0], (step.policy_state.cpu().numpy(),)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.forward(observation, deterministic)[0]

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments beyond the spaces, of JSON types."""
        return dict(self._arguments)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,  # the optimizer's state has the learning rate
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            **self._arguments,
        }
