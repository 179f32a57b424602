"""What stage 2 may begin with in a closed loop: the policy repeats the looks of another agent."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor
from torch.nn import functional as F

from adafocus_env.envs import ActiveVisionVectorEnv
from adafocus_env.networks import AnyRecognizer
from agents.baselines.registry import find_baseline, make_baseline
from agents.baselines.simple import RandomOffsets
from agents.evaluation import VectorEnvironment
from agents.gru_ppo.algorithm import GruPPO
from agents.gru_ppo.episode_buffer import discounted_returns
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import each, glance_of, together
from train.config.keys import ConfigError
from train.runs.progress import ProgressPart

log = logging.getLogger(__name__)

# Passes over the episodes of all rows, and how many of them go into a step of the optimizer.
_PASSES, _EPISODES = 3, 64


def imitate(
    model: BaseAlgorithm,
    env: VectorEnvironment,
    recognizer: AnyRecognizer,
    *,
    name: str,
    episodes: int,
    seed: int,
    progress: ProgressPart,
) -> None:
    """Let an agent play, and teach the policy its actions and what they earn.

    The policy sees what it always sees; the agent may know more. It is taught by the algorithm's
    own optimizer, at the rate that training begins with.

    Args:
        model: GruPPO, just made; its policy is changed.
        env: the training split; is reset.
        recognizer: of the environment.
        name: of a baseline agent.
        episodes: to learn from, in whole batches of the environment's rows.
        seed: of the environment and of the order of learning.
        progress: advances with the episodes.

    Raises:
        ConfigError: another algorithm, an open loop, or an agent that plays no grid positions.
    """
    if not isinstance(model, GruPPO) or not isinstance(env, ActiveVisionVectorEnv):
        raise ConfigError(f"imitate={name} is for algo=gru_ppo with env=active; leave it out")
    if find_baseline(name) is None:
        raise ConfigError(f"imitate={name} must be an agent that does not learn, such as expert")
    agent = make_baseline(name, env.core, recognizer)
    if isinstance(agent, RandomOffsets):
        raise ConfigError(f"imitate={name} looks at any pixel, and the policy at grid positions")
    generator = torch.Generator().manual_seed(seed)
    env.reset(seed=seed)
    done = 0
    while done < episodes:
        observations, actions, returns, running = _play(model, env, agent)
        for _ in range(_PASSES):
            order = torch.randperm(env.num_envs, generator=generator).to(model.device)
            for rows in order.split(_EPISODES):
                chosen = each(observations, partial(_rows, rows=rows))
                _learn(model, chosen, actions[rows], returns[rows], running[rows])
        done += env.num_envs
        progress.advance(count=env.num_envs)
    log.info("the policy has seen %d episodes of %s", done, name)


@torch.no_grad()
def _play(
    model: GruPPO, env: ActiveVisionVectorEnv, agent: Any
) -> tuple[Any, Tensor, Tensor, Tensor]:
    """An episode of every row: observations, actions, returns and what was no idling, `(N, T)`."""
    seen: list[Any] = []
    taken: list[Tensor] = []
    policy = model.policy
    state: Any = None  # of an agent that counts its looks

    def act(shown: dict[str, Tensor]) -> Tensor:
        nonlocal state
        seen.append(each(shown, lambda part: part.to(model.device)))
        policy.fit_scale_once(glance_of(seen[-1]))
        starts = np.full(env.num_envs, len(seen) == 1)
        actions, state = agent.predict(env.core.observe().cpu().numpy(), state, starts, True)
        taken.append(torch.as_tensor(actions).to(model.device))
        return taken[-1]

    result = env.run(act)
    steps = len(seen)
    returns = discounted_returns(result.rewards[:, :steps].to(model.device), model.gamma)
    observations = together(seen, lambda parts: torch.stack(parts, dim=1))
    running = result.running[:, :steps].to(model.device)
    return observations, torch.stack(taken, dim=1), returns, running


def _learn(
    model: GruPPO, observations: Any, actions: Tensor, returns: Tensor, running: Tensor
) -> None:
    """A step of the optimizer on some episodes."""
    policy: GruActorCriticPolicy = model.policy
    policy.set_training_mode(True)
    distribution, values = policy.evaluate_episodes(observations)
    loss = -distribution.log_prob(actions)[running].mean()
    loss = loss + model.vf_coef * F.mse_loss(values[running], returns[running])
    policy.optimizer.zero_grad()
    loss.backward()
    policy.optimizer.step()


def _rows(part: Tensor, *, rows: Tensor) -> Tensor:
    return part[rows]
