"""What a policy is shown of an environment's observations."""

from __future__ import annotations

from gymnasium import spaces
from torch import Tensor

from adafocus_env.envs.skip_cost import append_cost

_MAP_EPISODES = 5  # axes of (N, T, C, h, w)


def seen_by(
    policy: object,
    observations: Tensor,
    *,
    shows_cost: bool = False,
    skip_costs: Tensor | None = None,
) -> Tensor:
    """Observations of episodes, `(N, T, C, h, w)` or `(N, T, C)`, as a policy sees them.

    A policy that was trained on glance vectors gets each map's mean over space, which is the
    vector. One that was trained at random costs of looks says `sees_cost` and gets the channel that
    shows them; one that says `sees_cost = False` does not. Whoever says nothing of it, or has no
    observation space, sees what is shown.

    Args:
        policy: or another agent.
        observations: of an environment.
        shows_cost: whether they end with the channel of the cost.
        skip_costs: `(N,)` of the episodes.

    Raises:
        ValueError: the policy must know the cost, and nobody says it; or it sees something else.
    """
    space = getattr(policy, "observation_space", None)
    if isinstance(space, spaces.Dict):
        raise ValueError(
            "this policy was trained in a closed loop, AdaFocus/ActiveVision-v0, and this is "
            "AdaFocus/PatchLocalization-v0, which shows glances alone; use env=active"
        )
    if not isinstance(space, spaces.Box):
        return observations
    # (N, T, C) are vectors already.
    if len(space.shape) == 1 and observations.dim() == _MAP_EPISODES:
        observations = observations.mean(dim=(-2, -1))
    sees_cost = getattr(policy, "sees_cost", shows_cost)
    if shows_cost and not sees_cost:
        observations = observations[:, :, :-1]
    elif sees_cost and not shows_cost:
        if skip_costs is None:
            raise ValueError(
                "this policy was trained at random costs (skip_cost=random) and must be told one: "
                "use skip_cost=0.05, say, or NAME@0.05:RUN_FOLDER in policies="
            )
        each = skip_costs.repeat_interleave(observations.shape[1])
        shown = append_cost(observations.flatten(0, 1), each, float(space.high.max()))
        observations = shown.unflatten(0, observations.shape[:2])
    if observations.shape[2:] != space.shape:
        raise ValueError(
            f"the policy sees {space.shape}, but is shown {tuple(observations.shape[2:])}; one "
            "that was trained at random costs of looks must say so: policy.sees_cost = True"
        )
    return observations
