"""Acting through whole episodes: what an agent does in them, and the patches that this chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from adafocus_env.envs import PatchChoice, PatchLocalizationVectorEnv
from adafocus_env.envs.actions import locations_of
from adafocus_env.seeding import Purpose, episode_rng
from agents.baselines.blind_skipping import BlindSkipping
from agents.baselines.oracles import CoreWatcher
from agents.baselines.simple import Agent, RandomOffsets, SeededAgent, State
from agents.policies.distributions import GridDistribution
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.inputs import seen_by


def best_actions(
    policy: BasePolicy, observations: Tensor, skip_costs: Tensor | None = None
) -> npt.NDArray[Any]:
    """What a policy would rather do in whole episodes, in its own action space.

    Args:
        policy: any.
        observations: `(N, T, C, h, w)` glances, on any device.
        skip_costs: `(N,)`, for a policy that sees them.

    Returns:
        `(N, T)` or `(N, T, 2)`.
    """
    seen = seen_by(policy, observations, skip_costs=skip_costs)
    if isinstance(policy, GruActorCriticPolicy):
        return act_at_once(policy, seen)
    return act_step_by_step(policy, seen)


@torch.no_grad()
def act_at_once(
    policy: GruActorCriticPolicy,
    seen: Tensor,
    *,
    uniforms: Tensor | None = None,
    positions: int | None = None,
) -> npt.NDArray[Any]:
    """Actions of one pass over what a policy sees.

    Args:
        policy: goes into evaluation mode.
        seen: `(N, T, ...)`.
        uniforms: as of `ActionDistribution.draw`; None takes the best actions.
        positions: choose among the first so many actions of a grid; None among all.
    """
    policy.set_training_mode(False)
    distribution, _ = policy.evaluate_episodes(seen.to(policy.device))
    if positions is not None and isinstance(distribution, GridDistribution):
        distribution = GridDistribution(probs=distribution.probs[..., :positions])
    if uniforms is None:
        return np.asarray(distribution.best().cpu())
    return np.asarray(policy.head.within_bounds(distribution.draw(uniforms)).cpu())


def episode_uniforms(
    policy: GruActorCriticPolicy, seeds: npt.NDArray[np.uint64], num_decisions: int
) -> Tensor:
    """`(N, T, ...)` that a policy's actions are drawn from: they belong to the episodes."""
    shape = (num_decisions, *policy.head.uniform_shape)
    # Drawn as float32: rounded to it, the largest float64 would be 1.
    rows = [episode_rng(int(seed), Purpose.ACTION).random(shape, np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows)).to(policy.device)


def act_step_by_step(agent: Agent, seen: Tensor, *, deterministic: bool = True) -> npt.NDArray[Any]:
    """Ask SB3's `predict` for the actions of each step of what an agent sees, from no state."""
    observations = seen.cpu().numpy()
    state: State = None
    starts = np.ones(len(observations), dtype=np.bool_)
    actions = []
    for t in range(observations.shape[1]):
        action, state = agent.predict(observations[:, t], state, starts, deterministic)
        starts = np.zeros_like(starts)
        actions.append(action)
    return np.stack(actions, axis=1)


@dataclass(frozen=True)
class Chosen:
    """What an agent does with N episodes.

    Attributes:
        actions: `(N, T)` or `(N, T, 2)`; for agents that do not act in the environment's own action
            space, the offsets of their patches.
        choice: the patches, `(N, T)`.
    """

    actions: npt.NDArray[np.generic]
    choice: PatchChoice


class Acting:
    """How an agent acts in an environment.

    Args:
        env: whose episodes.
        agent: any.
        deterministic: ask for its best actions.
        skip_cost: as in `evaluate_agent`.
    """

    def __init__(
        self,
        env: PatchLocalizationVectorEnv,
        agent: Agent | RandomOffsets | BlindSkipping,
        *,
        deterministic: bool,
        skip_cost: float | None,
    ):
        self._env = env
        self._deterministic = deterministic
        self._skip_cost = skip_cost
        self._frames = agent if isinstance(agent, BlindSkipping) else None
        agent = self._frames.agent if self._frames is not None else agent
        # An algorithm of SB3 acts with its policy.
        self._agent: Any = getattr(agent, "policy", agent)

    def choose(self, seeds: npt.NDArray[np.uint64]) -> Chosen:
        """For episodes with these seeds, which the environment shows the beginning of."""
        if self._frames is None:
            return self._choose(seeds, everywhere=False)
        chosen = self._choose(seeds, everywhere=True)
        focused = np.stack([self._frames.focused(int(seed)) for seed in seeds])
        return _elsewhere(PatchChoice.at(chosen.choice.offsets, torch.from_numpy(focused)))

    def _choose(self, seeds: npt.NDArray[np.uint64], *, everywhere: bool) -> Chosen:
        """The agent's own choice; `everywhere` leaves out the action that skips.

        Raises:
            ValueError: a policy of SB3 cannot say where it would look where it skips.
        """
        agent, core = self._agent, self._env.core
        if isinstance(agent, RandomOffsets):
            offsets = np.stack([agent.offsets(int(seed)) for seed in seeds])
            return _elsewhere(PatchChoice.at(torch.from_numpy(offsets)))
        own = core.locations
        foreign = isinstance(agent, BasePolicy) and agent.action_space != own.action_space
        locations = locations_of(agent.action_space, core.grid) if foreign else own
        if everywhere and locations.can_skip and not isinstance(agent, GruActorCriticPolicy):
            raise ValueError("only GruPPO's policies say where they would look in every frame")
        actions = self._actions(seeds, core.grid.num_actions if everywhere else None)
        checked = locations.check(actions, (self._env.num_envs, self._env.num_decisions))
        choice = locations.choice(checked)
        return _elsewhere(choice) if foreign else Chosen(actions, choice)

    def _actions(
        self, seeds: npt.NDArray[np.uint64], positions: int | None
    ) -> npt.NDArray[np.generic]:
        agent, env = self._agent, self._env
        if isinstance(agent, CoreWatcher):
            return self._watch_steps(agent)
        seen = seen_by(
            agent,
            env.observe_episode(),
            shows_cost=env.core.shows_cost,
            skip_costs=self._skip_costs(),
        )
        if isinstance(agent, GruActorCriticPolicy):
            uniforms = (
                None if self._deterministic else episode_uniforms(agent, seeds, env.num_decisions)
            )
            return act_at_once(agent, seen, uniforms=uniforms, positions=positions)
        if isinstance(agent, SeededAgent):
            agent.begin_episodes([int(seed) for seed in seeds])
        return act_step_by_step(agent, seen, deterministic=self._deterministic)

    def _watch_steps(self, watcher: CoreWatcher) -> npt.NDArray[np.generic]:
        """Actions of an agent that watches the core, so that the steps must be taken."""
        core, actions = self._env.core, []
        for _ in range(core.num_decisions):
            action, _ = watcher.predict(core.observe().cpu().numpy())
            core.transition(torch.as_tensor(action))
            actions.append(action)
        return np.stack(actions, axis=1)

    def _skip_costs(self) -> Tensor | None:
        """`(N,)` of the episodes, if there are any."""
        if self._env.core.can_skip:
            return self._env.core.skip_costs
        if self._skip_cost is None:
            return None
        return torch.full((self._env.num_envs,), self._skip_cost, dtype=torch.float64)


def _elsewhere(choice: PatchChoice) -> Chosen:
    """Patches that no action of the environment stands for."""
    return Chosen(choice.offsets.numpy(), choice)
