"""Looking: what any agent does with the episodes of an environment, as actions or as looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from adafocus_env.envs import PatchChoice, PatchLocalizationVectorEnv
from adafocus_env.seeding import Purpose, episode_rng
from agents.baselines.blind_skipping import BlindSkipping
from agents.baselines.oracles import Oracle
from agents.baselines.simple import Agent, RandomOffsets, SeededAgent, State
from agents.policies.distributions import GridDistribution
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.inputs import act_on_episodes, can_skip, look_at, seen_by


@dataclass(frozen=True)
class Chosen:
    """What an agent does with N episodes.

    Attributes:
        actions: `(N, T)` or `(N, T, 2)`.
        looks: what they look at, where they are not the environment's own actions.
    """

    actions: npt.NDArray[np.generic]
    looks: PatchChoice | None = None


class Looking:
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
            return self._choose(seeds)
        chosen = self._choose(seeds, everywhere=True)
        looks = chosen.looks or self._env.core.locations.choice(torch.as_tensor(chosen.actions))
        focused = np.stack([self._frames.focused(int(value)) for value in seeds])
        looks = PatchChoice.at(looks.offsets, torch.from_numpy(focused))
        return Chosen(looks.offsets.numpy(), looks)

    def _choose(self, seeds: npt.NDArray[np.uint64], *, everywhere: bool = False) -> Chosen:
        """The agent's own choice.

        Args:
            seeds: `(N,)` of the episodes.
            everywhere: without the action that skips.

        Raises:
            ValueError: a policy of SB3 cannot say where it would look where it skips.
        """
        agent, env = self._agent, self._env
        if isinstance(agent, RandomOffsets):
            offsets = np.stack([agent.offsets(int(value)) for value in seeds])
            return Chosen(offsets, PatchChoice.at(torch.from_numpy(offsets)))
        positions = env.core.grid.num_actions if everywhere else None
        if isinstance(agent, GruActorCriticPolicy):
            actions = self._choose_whole_episodes(seeds, positions)
        else:
            if everywhere and can_skip(_action_space(env, agent), env.core.grid):
                raise ValueError("only GruPPO's policies say where they would look in every frame")
            if isinstance(agent, SeededAgent):
                agent.begin_episodes([int(value) for value in seeds])
            actions = self._choose_actions()
        if isinstance(agent, BasePolicy) and agent.action_space != env.single_action_space:
            source = env.core.source
            sizes = {"frame_size": source.frame_size, "patch_size": source.patch_size}
            looks = look_at(agent.action_space, actions, env.core.grid, **sizes)
            return Chosen(looks.offsets.numpy(), looks)
        return Chosen(actions)

    def _costs(self) -> Tensor | None:
        """`(N,)` of the episodes, if there are any."""
        if self._env.core.can_skip:
            return self._env.core.skip_costs
        if self._skip_cost is None:
            return None
        return torch.full((self._env.num_envs,), self._skip_cost, dtype=torch.float64)

    def _choose_actions(self) -> npt.NDArray[np.generic]:
        """`(N, T)` actions; only an agent that watches the core needs the steps to be taken."""
        env = self._env
        agent: Agent = self._agent
        if not isinstance(agent, Oracle):
            observations = env.observe_episode()
            return act_on_episodes(
                agent,
                observations,
                deterministic=self._deterministic,
                skip_costs=self._costs(),
            )
        state: State = None
        starts = np.ones(env.num_envs, dtype=np.bool_)
        actions = []
        for _ in range(env.num_decisions):
            seen = env.core.observe().cpu().numpy()
            action, state = agent.predict(seen, state, starts, self._deterministic)
            env.core.transition(torch.as_tensor(action))
            starts = np.zeros_like(starts)
            actions.append(action)
        return np.stack(actions, axis=1)

    @torch.no_grad()
    def _choose_whole_episodes(
        self, seeds: npt.NDArray[np.uint64], positions: int | None
    ) -> npt.NDArray[np.generic]:
        """`(N, T)` actions, the first `positions` of them, of one pass of the policy."""
        policy, env = self._agent, self._env
        policy.set_training_mode(False)
        distribution, _ = policy.evaluate_episodes(
            seen_by(policy, env.observe_episode(), self._costs()).to(policy.device)
        )
        if positions is not None and isinstance(distribution, GridDistribution):
            distribution = GridDistribution(probs=distribution.probs[..., :positions])
        if self._deterministic:
            return np.asarray(distribution.best().cpu())
        shape = (env.num_decisions, *policy.head.uniform_shape)
        # Drawn as float32: rounded to it, the largest float64 would be 1.
        uniforms = [
            episode_rng(int(seed), Purpose.ACTION).random(shape, dtype=np.float32) for seed in seeds
        ]
        drawn = distribution.draw(torch.from_numpy(np.stack(uniforms)).to(policy.device))
        return np.asarray(policy.head.within_bounds(drawn).cpu())


def _action_space(env: PatchLocalizationVectorEnv, agent: Any) -> spaces.Space[Any]:
    found: spaces.Space[Any] = getattr(agent, "action_space", env.single_action_space)
    return found
