"""Acting in closed loops: any agent steps, is shown what its looks brought, and may end early."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from adafocus_env.envs import ActiveVisionVectorEnv, LoopResult, PatchChoice
from adafocus_env.envs.actions import locations_of
from agents.baselines.blind_skipping import BlindSkipping
from agents.baselines.simple import Agent, RandomOffsets, SeededAgent
from agents.baselines.stopping import UntilSure
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import each
from agents.rollout import episode_uniforms


class LoopActing:
    """How an agent acts in closed loops.

    Policies see those parts of the observation that they were trained on, other agents all of it.

    Args:
        env: whose episodes.
        agent: any but those that skip frames; also `UntilSure` of another.
        deterministic: ask for its best actions.

    Raises:
        ValueError: the agent cannot act here.
    """

    def __init__(
        self,
        env: ActiveVisionVectorEnv,
        agent: Agent | RandomOffsets | BlindSkipping | UntilSure,
        *,
        deterministic: bool,
    ):
        if isinstance(agent, BlindSkipping):
            raise ValueError(
                "random_skip and uniform_skip skip frames, and a closed loop has looks; leave them "
                "out of policies=, or use env=patch"
            )
        self._env = env
        self._deterministic = deterministic
        self._threshold: float | None = None
        if isinstance(agent, UntilSure):
            self._threshold, agent = agent.threshold, agent.agent
        # An algorithm of SB3 acts with its policy.
        self._agent: Any = getattr(agent, "policy", agent)
        if isinstance(self._agent, BasePolicy):
            check_loop_policy(self._agent, env)

    def run(self, seeds: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.generic], LoopResult]:
        """Run episodes with these seeds, which the environment shows the beginning of.

        Returns:
            the actions `(N, T)` or `(N, T, 2)`, or offsets where they are not of the environment's
            own action space, zeros where nothing was asked; and what they brought.
        """
        agent, env = self._agent, self._env
        if isinstance(agent, RandomOffsets):
            offsets = np.stack([agent.offsets(int(seed)) for seed in seeds])
            choice = PatchChoice.at(torch.from_numpy(offsets))
            return offsets, run_choices(env, choice, self._threshold)
        if isinstance(agent, SeededAgent):
            agent.begin_episodes([int(seed) for seed in seeds])
        taken: list[npt.NDArray[Any]] = []
        ask = self._policy_asked(agent, seeds) or self._agent_asked(agent)
        own = env.single_action_space
        foreign = isinstance(own, spaces.Box) and getattr(agent, "action_space", own) != own
        locations = (
            locations_of(agent.action_space, env.core.grid) if foreign else env.core.locations
        )

        def act(seen: dict[str, Tensor]) -> Any:
            actions = np.asarray(ask(seen))
            if not foreign and self._threshold is None:
                taken.append(actions)
                return actions
            choice = locations.choice(locations.check(actions, (env.num_envs,)))
            taken.append(choice.offsets.numpy() if foreign else actions)
            return choice if self._threshold is None else until_sure(env, choice, self._threshold)

        result = env.run(act)
        taken += [np.zeros_like(taken[-1])] * (env.num_decisions - len(taken))
        return np.stack(taken, axis=1), result

    def _policy_asked(self, agent: Any, seeds: npt.NDArray[np.uint64]) -> Any:
        """One of our own policies, whose chance belongs to the episodes; None is no such policy."""
        if not isinstance(agent, GruActorCriticPolicy):
            return None
        agent.set_training_mode(False)
        state = agent.initial_state(len(seeds))
        starts = torch.ones(len(seeds), dtype=torch.bool, device=agent.device)
        uniforms = iter(episode_uniforms(agent, seeds, self._env.num_decisions).unbind(dim=1))

        @torch.no_grad()
        def ask(seen: dict[str, Tensor]) -> npt.NDArray[Any]:
            nonlocal state, starts
            shown = each(_parts(seen, agent), lambda part: part.to(agent.device))
            step = agent.step(
                shown, state, starts, uniforms=next(uniforms), deterministic=self._deterministic
            )
            state, starts = step.policy_state, torch.zeros_like(starts)
            return np.asarray(agent.head.within_bounds(step.actions).cpu())

        return ask

    def _agent_asked(self, agent: Any) -> Any:
        """SB3's `predict`."""
        state: Any = None
        starts = np.ones(self._env.num_envs, dtype=np.bool_)

        def ask(seen: dict[str, Tensor]) -> npt.NDArray[Any]:
            nonlocal state, starts
            sees = isinstance(getattr(agent, "observation_space", None), spaces.Dict)
            parts = _parts(seen, agent) if sees else seen
            shown = {name: part.cpu().numpy() for name, part in parts.items()}
            actions, state = agent.predict(shown, state, starts, self._deterministic)
            starts = np.zeros_like(starts)
            return np.asarray(actions)

        return ask


def run_choices(
    env: ActiveVisionVectorEnv, choice: PatchChoice, threshold: float | None = None
) -> LoopResult:
    """Run looks that are known in advance, `(N, T)`; where one is not focused, the episode ends.

    Args:
        env: whose episodes have just begun.
        choice: the looks.
        threshold: of `until_sure`.
    """
    steps = iter(range(env.num_decisions))

    def act(_: dict[str, Tensor]) -> PatchChoice:
        t = next(steps)
        now = PatchChoice(choice.offsets[:, t], choice.focused[:, t])
        return now if threshold is None else until_sure(env, now, threshold)

    return env.run(act)


def until_sure(env: ActiveVisionVectorEnv, choice: PatchChoice, threshold: float) -> PatchChoice:
    """These looks `(N,)`, but none where the largest belief has reached the threshold."""
    core = env.core
    sure = (core.belief().amax(dim=1) >= threshold).cpu() & (core.steps > 0)
    return PatchChoice.at(choice.offsets, choice.focused & ~sure)


def check_loop_policy(policy: BasePolicy, env: ActiveVisionVectorEnv) -> None:
    """Refuse a policy that sees or does what there is not.

    Raises:
        ValueError: the message says what, and the cure.
    """
    sees, shown = policy.observation_space, env.single_observation_space
    if not isinstance(sees, spaces.Dict):
        raise ValueError(
            "this policy was trained on glances alone, in AdaFocus/PatchLocalization-v0, and this "
            "is a closed loop, AdaFocus/ActiveVision-v0; use env=patch"
        )
    assert isinstance(shown, spaces.Dict)
    missing = [name for name in sees.spaces if name not in shown.spaces]
    if missing:
        raise ValueError(
            f"this policy sees {', '.join(sees.spaces)}, and observation= shows no "
            f"{', '.join(missing)}"
        )
    for name, part in sees.spaces.items():
        if part.shape != shown.spaces[name].shape:
            raise ValueError(
                f"this policy sees {name} of {part.shape}, and here it is "
                f"{shown.spaces[name].shape}; use the recognizer that it was trained with"
            )
    acts, possible = policy.action_space, env.single_action_space
    fits = acts == possible
    # SB3's algorithms act in a centred range.
    fits |= isinstance(acts, spaces.Box) and isinstance(possible, spaces.Box)
    if isinstance(acts, spaces.Discrete) and isinstance(possible, spaces.Discrete):
        fits |= env.can_stop and acts.n + 1 == possible.n
        if acts.n == possible.n + 1:
            raise ValueError(
                f"this policy has {acts.n} actions, one of which ends the episode, and here are "
                f"{possible.n}; use stop=true"
            )
    if not fits:
        raise ValueError(
            f"this policy acts in {acts}, and here it is {possible}; use the action_dim= and "
            "locations= that it was trained with"
        )


def _parts(seen: dict[str, Tensor], policy: Any) -> dict[str, Tensor]:
    return {name: seen[name] for name in policy.observation_space.spaces}
