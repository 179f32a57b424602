"""EpisodeBuffer: the whole episodes of one rollout, on the device, and their returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from agents.gru_ppo.process_group import ONE_PROCESS, ProcessGroup
from agents.gru_ppo.rollout_cache import RolloutCache
from agents.policies.observations import Observations, each, together


@dataclass(frozen=True)
class Episodes:
    """E whole episodes of T steps.

    Attributes:
        observations: `(E, T, ...)`, or such by name; the glances `(E, T / looks_per_frame, ...)`.
        actions: `(E, T)` int64, or `(E, T, 2)` as drawn.
        old_log_probs: `(E, T)` when they were acted.
        old_values: `(E, T)` when they were acted.
        rewards: `(E, T)`.
        returns: `(E, T)` targets of the value.
        advantages: `(E, T)`.
        running: `(E, T)` bool, False after an episode has been ended by an action; None where none
            does that.
        looks_per_frame: steps in a row that saw the same glance.
    """

    observations: Observations
    actions: Tensor
    old_log_probs: Tensor
    old_values: Tensor
    rewards: Tensor
    returns: Tensor
    advantages: Tensor
    running: Tensor | None = None
    looks_per_frame: int = 1

    def select(self, index: Tensor) -> Episodes:
        """Some of the episodes."""
        chosen: dict[str, Any] = {
            name: each(value, lambda part: part[index])
            for name, value in vars(self).items()
            if isinstance(value, Tensor | dict)
        }
        return replace(self, **chosen)

    def of_steps(self, values: Tensor) -> Tensor:
        """The values `(E, T)` of those steps that were taken."""
        return values if self.running is None else values[self.running]


class EpisodeBuffer:
    """Collects episodes and computes their returns; nothing leaves the device.

    Args:
        gamma: discount.
        gae_lambda: as of `GruPPO`: less than 1 trades variance for bias (GAE).
        center_steps: subtract from the advantages their mean over the rollout's episodes at each
            step. Episodes run in lock step, so this is a baseline that knows the time.
        normalize_returns: standardise the returns over all steps of the rollout, as published; the
            values then predict standardised returns.
        scale_rewards: divide rewards by the standard deviation of the rollout's returns before the
            advantages are estimated; unlike `normalize_returns` it goes with any `gae_lambda`.
        process_group: processes that train together; means and deviations are over all of them.

    Attributes:
        rollout_cache: the policy's over all observations in the buffer, if it was kept.

    Raises:
        ValueError: `normalize_returns` with `gae_lambda` below 1: advantages would mix rewards with
            values of another scale; or both ways of scaling at once.
    """

    def __init__(
        self,
        *,
        gamma: float,
        gae_lambda: float,
        normalize_returns: bool,
        center_steps: bool = False,
        scale_rewards: bool = False,
        process_group: ProcessGroup = ONE_PROCESS,
    ):
        if normalize_returns and gae_lambda < 1.0:
            raise ValueError("normalize_returns=True needs gae_lambda=1")
        if normalize_returns and scale_rewards:
            raise ValueError("normalize_returns and scale_rewards scale twice; take one of them")
        self.gamma = gamma
        self.gae_lambda = gae_lambda
        self.normalize_returns = normalize_returns
        self.center_steps = center_steps
        self.scale_rewards = scale_rewards
        self._process_group = process_group
        self._parts: list[dict[str, Any]] = []
        self._looks_per_frame = 1
        self.rollout_cache: RolloutCache | None = None

    def reset(self) -> None:
        """Forget everything."""
        self._parts = []
        self._looks_per_frame = 1
        self.rollout_cache = None

    def add(
        self,
        *,
        observations: Observations,
        actions: Tensor,
        log_probs: Tensor,
        values: Tensor,
        rewards: Tensor,
        running: Tensor | None = None,
        looks_per_frame: int = 1,
    ) -> None:
        """Add `(N, T, ...)` whole episodes, with the attributes of `Episodes`.

        Steps that are not `running` have rewards of 0; nothing follows the step before them.
        """
        self._looks_per_frame = looks_per_frame
        part = {
            "observations": observations,
            "actions": actions,
            "old_log_probs": log_probs,
            "old_values": values if running is None else values * running,
            "rewards": rewards,
        }
        self._parts.append(part if running is None else {**part, "running": running})

    def episodes(self) -> Episodes:
        """All episodes with returns and advantages."""
        stored = self._parts[0]  # not copied where there is one: observations are large
        if len(self._parts) > 1:
            stored = {
                name: together([part[name] for part in self._parts], torch.cat) for name in stored
            }
        running = stored.get("running")
        rewards, values = stored["rewards"], stored["old_values"]
        if self.normalize_returns:
            returns = discounted_returns(rewards, self.gamma)
            everywhere = self._everywhere(returns, running)
            returns = (returns - everywhere.mean()) / (everywhere.std() + 1e-5)
            advantages = returns - values
        else:
            if self.scale_rewards:
                everywhere = self._everywhere(discounted_returns(rewards, self.gamma), running)
                rewards = rewards / (everywhere.std() + 1e-5)
            advantages = gae_advantages(rewards, values, self.gamma, self.gae_lambda)
            returns = advantages + values
        if self.center_steps:
            advantages = advantages - self._step_means(advantages, running)
        return Episodes(
            **stored,
            returns=returns,
            advantages=advantages,
            looks_per_frame=self._looks_per_frame,
        )

    def _everywhere(self, values: Tensor, running: Tensor | None) -> Tensor:
        """The values of the steps that were taken, of all processes."""
        everywhere = self._process_group.gather(values)
        return everywhere if running is None else everywhere[self._process_group.gather(running)]

    def _step_means(self, values: Tensor, running: Tensor | None) -> Tensor:
        """`(T,)` means over the episodes that took the step, of all processes."""
        everywhere = self._process_group.gather(values)
        if running is None:
            return everywhere.mean(dim=0)
        taken = self._process_group.gather(running)
        return (everywhere * taken).sum(dim=0) / taken.sum(dim=0).clamp(min=1)


def minibatches(
    episodes: Episodes, batch_episodes: int | None, generator: torch.Generator
) -> Iterator[Episodes]:
    """Whole episodes in random order; None gives them all at once, in order."""
    count = len(episodes.actions)
    if batch_episodes is None or batch_episodes >= count:
        yield episodes
        return
    order = torch.randperm(count, generator=generator)
    for index in order.split(batch_episodes):
        yield episodes.select(index.to(episodes.actions.device))


def discounted_returns(rewards: Tensor, gamma: float) -> Tensor:
    """`R_t = r_t + gamma * R_{t+1}` along the last axis; nothing follows the last step."""
    returns = torch.empty_like(rewards)
    following = torch.zeros_like(rewards[..., 0])
    for step in reversed(range(rewards.shape[-1])):
        following = rewards[..., step] + gamma * following
        returns[..., step] = following
    return returns


def gae_advantages(rewards: Tensor, values: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates (Schulman et al., 2016) of whole episodes.

    Args:
        rewards: `(E, T)`.
        values: `(E, T)`; the value after the last step is 0, because there the episode ends.
        gamma: discount.
        gae_lambda: 1 gives returns minus values.
    """
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], dim=-1)
    deltas = rewards + gamma * following - values
    return discounted_returns(deltas, gamma * gae_lambda)
