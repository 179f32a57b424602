"""Any policy on any environment: what it sees, how it acts through an episode, where it looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.envs import ContinuousLocations, GridOrSkip, PatchChoice, PatchGrid
from adafocus_env.envs.skip_cost import append_cost
from agents.baselines.simple import Agent, State

_MAP_EPISODES = 5  # axes of (N, T, C, h, w)


def seen_by(policy: object, observations: Tensor, skip_costs: Tensor | None = None) -> Tensor:
    """Observations of episodes, `(N, T, C, h, w)` or `(N, T, C)`, as a policy sees them.

    A policy that was trained on glance vectors gets each map's mean over space, which is the
    vector. One that was trained at random costs of looks gets the channel that shows them; others
    do not. Agents without an observation space get everything.

    Args:
        policy: whose observation space counts.
        observations: of an environment.
        skip_costs: `(N,)` of the episodes.

    Raises:
        ValueError: the policy must know the cost, and nobody says it.
    """
    space = getattr(policy, "observation_space", None)
    if isinstance(space, spaces.Dict):
        (space,) = space.spaces.values()
    if not isinstance(space, spaces.Box):
        return observations
    # (N, T, C) are vectors already.
    if len(space.shape) == 1 and observations.dim() == _MAP_EPISODES:
        observations = observations.mean(dim=(-2, -1))
    missing = space.shape[0] - observations.shape[2]
    if missing == 1:
        if skip_costs is None:
            raise ValueError(
                "this policy was trained at random costs (skip_cost=random) and must be told one: "
                "use skip_cost=0.05, say, or NAME@0.05:RUN_FOLDER in policies="
            )
        each = skip_costs.repeat_interleave(observations.shape[1])
        bound = float(space.high.max())
        shown = append_cost(observations.flatten(0, 1), each, bound)
        told: Tensor = shown.unflatten(0, observations.shape[:2])
        return told
    return observations[:, :, :-1] if missing == -1 else observations


def is_told_cost(policy: object, num_channels: int) -> bool:
    """Whether a policy was trained at random costs of looks.

    Args:
        policy: with an observation space.
        num_channels: C of the glances.
    """
    space = getattr(policy, "observation_space", None)
    return isinstance(space, spaces.Box) and space.shape[0] == num_channels + 1


def can_skip(action_space: spaces.Space[Any], grid: PatchGrid) -> bool:
    """Whether the last action of a policy skips the frame: it has one more than positions."""
    return isinstance(action_space, spaces.Discrete) and action_space.n == grid.num_actions + 1


def act_on_episodes(
    agent: Agent,
    observations: Tensor,
    *,
    deterministic: bool = True,
    skip_costs: Tensor | None = None,
) -> npt.NDArray[Any]:
    """Ask SB3's `predict` for the actions of whole episodes, step by step from the zero state.

    Args:
        agent: a policy or another agent.
        observations: `(N, T, ...)`.
        deterministic: ask for the best actions.
        skip_costs: `(N,)`, for a policy that must know them.

    Returns:
        `(N, T)` or `(N, T, 2)` in the agent's own action space.
    """
    seen = seen_by(agent, observations, skip_costs).cpu().numpy()
    space = getattr(agent, "observation_space", None)
    key = next(iter(space.spaces)) if isinstance(space, spaces.Dict) else None
    state: State = None
    starts = np.ones(len(seen), dtype=np.bool_)
    actions = []
    for t in range(seen.shape[1]):
        observation = seen[:, t] if key is None else {key: seen[:, t]}
        action, state = agent.predict(observation, state, starts, deterministic)
        starts = np.zeros_like(starts)
        actions.append(action)
    return np.stack(actions, axis=1)


def look_at(
    action_space: spaces.Space[Any],
    actions: npt.ArrayLike,
    grid: PatchGrid,
    *,
    frame_size: int,
    patch_size: int,
) -> PatchChoice:
    """Where the actions of a policy look, whatever the environment's own actions are.

    Args:
        action_space: of the policy: positions of the grid, perhaps with one action more, which
            skips the frame; or a `Box` whose range spans the places where a patch fits.
        actions: `(...)` or `(..., 2)`.
        grid: the positions.
        frame_size: side of a frame in pixels.
        patch_size: side of a patch in pixels.
    """
    if isinstance(action_space, spaces.Discrete):
        locations = GridOrSkip(grid) if can_skip(action_space, grid) else grid
        return locations.choice(torch.as_tensor(actions))
    assert isinstance(action_space, spaces.Box)
    low, high = action_space.low, action_space.high
    fractions = ((np.asarray(actions) - low) / (high - low)).clip(0.0, 1.0).astype(np.float32)
    return ContinuousLocations(frame_size, patch_size).choice(torch.from_numpy(fractions))
