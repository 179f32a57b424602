"""Any policy on any environment: what it sees, how it acts through an episode, where it looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.envs import ContinuousLocations, PatchGrid
from agents.baselines import Agent, State

_MAP_EPISODES = 5  # axes of (N, T, C, h, w)


def seen_by(policy: object, observations: Tensor) -> Tensor:
    """Observations of episodes, `(N, T, C, h, w)` or `(N, T, C)`, as a policy sees them.

    A policy that was trained on glance vectors gets each map's mean over space, which is the
    vector. Agents without an observation space get everything.
    """
    space = getattr(policy, "observation_space", None)
    if isinstance(space, spaces.Dict):
        (space,) = space.spaces.values()
    sees_vectors = isinstance(space, spaces.Box) and len(space.shape) == 1
    # (N, T, C) are vectors already.
    if sees_vectors and observations.dim() == _MAP_EPISODES:
        observations = observations.mean(dim=(-2, -1))
    return observations


def act_on_episodes(
    agent: Agent, observations: Tensor, *, deterministic: bool = True
) -> npt.NDArray[Any]:
    """Ask SB3's `predict` for the actions of whole episodes, step by step from the zero state.

    Args:
        agent: a policy or another agent.
        observations: `(N, T, ...)`.
        deterministic: ask for the best actions.

    Returns:
        `(N, T)` or `(N, T, 2)` in the agent's own action space.
    """
    seen = seen_by(agent, observations).cpu().numpy()
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
) -> Tensor:
    """Where the actions of a policy look, whatever the environment's own actions are.

    Args:
        action_space: of the policy: positions of the grid, or a `Box` whose range spans the places
            where a patch fits.
        actions: `(...)` or `(..., 2)`.
        grid: the positions.
        frame_size: side of a frame in pixels.
        patch_size: side of a patch in pixels.

    Returns:
        `(..., 2)` int64 (top, left) offsets in pixels, on the CPU.
    """
    if isinstance(action_space, spaces.Discrete):
        return grid.offsets(torch.as_tensor(actions))
    assert isinstance(action_space, spaces.Box)
    low, high = action_space.low, action_space.high
    fractions = ((np.asarray(actions) - low) / (high - low)).clip(0.0, 1.0).astype(np.float32)
    return ContinuousLocations(frame_size, patch_size).offsets(torch.from_numpy(fractions))
