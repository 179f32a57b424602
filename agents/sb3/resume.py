"""Interrupted training of an on-policy algorithm: what it needs to go on exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.gru_ppo.algorithm import GruPPO
from agents.gru_ppo.process_group import ProcessGroup
from agents.gru_ppo.training_state import learning_state, restore_learning
from agents.sb3.registry import ALGORITHMS

_KNOWN_MODULES = ("stable_baselines3.", "sb3_contrib.")


def why_not_continued(name: str, model: BaseAlgorithm, num_decisions: int) -> str | None:
    """Why training with an algorithm cannot be continued exactly; None where it can.

    Args:
        name: key of `agents.sb3.registry.ALGORITHMS`.
        model: the algorithm.
        num_decisions: T.
    """
    if isinstance(model, GruPPO):
        return None
    if name not in ALGORITHMS or not type(model).__module__.startswith(_KNOWN_MODULES):
        return "nobody knows what an algorithm of your own keeps besides its weights"
    if not isinstance(model, OnPolicyAlgorithm):
        return "its replay buffer is not saved"
    env = model.env
    if env is not None and env.has_attr("can_stop") and env.get_attr("can_stop")[0]:
        return "with stop=true episodes end at different times, and not with its rollouts"
    if model.n_steps % num_decisions:
        return f"n_steps={model.n_steps} are no whole episodes of {num_decisions}"
    return None


def training_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Everything that training on needs, between two rollouts: tensors and JSON types.

    Beside it the global generators of torch and NumPy count, from which SB3 draws. In several
    processes `env` is each one's own; the rest is the same in all.
    """
    assert model.env is not None
    own = (
        learning_state(model)
        if isinstance(model, GruPPO)
        else {"parameters": model.get_parameters()}
    )
    return {
        **own,
        "num_timesteps": model.num_timesteps,
        "n_updates": model._n_updates,
        "env": json.dumps(model.env.env_method("row_states")[0]),
    }


def part_of_state(
    state: Mapping[str, Any], rows: Sequence[str], group: ProcessGroup
) -> dict[str, Any]:
    """What one process goes on from, of what perhaps another number of processes has saved.

    Args:
        state: of `training_state`, the same in all that saved it.
        rows: the `env` of each of them.
        group: the process among those that go on. They share all rows, in the same order.
    """
    every = [row for saved in rows for row in json.loads(saved)]
    share = len(every) // group.count
    return {
        **state,
        "env": json.dumps(every[group.rank * share :][:share]),
        # Counted are the steps of a process's own rows.
        "num_timesteps": state["num_timesteps"] * len(rows) // group.count,
    }


def restore_training_state(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Go on from what `training_state` returned, with `learn(..., reset_num_timesteps=False)`.

    The algorithm must have been made with the same arguments and the same environment.
    """
    assert model.env is not None
    model.env.reset()  # wrappers count episodes from here
    if isinstance(model, GruPPO):
        restore_learning(model, state)
    else:
        model.set_parameters(state["parameters"], device=model.device)
    model.num_timesteps = state["num_timesteps"]
    model._n_updates = state["n_updates"]
    rows = json.loads(state["env"])
    model._last_obs = model.env.env_method("restore_rows", rows)[0]
    # States of an LSTM may stay zero: where an episode begins they are not used.
    model._last_episode_starts = np.ones(model.env.num_envs, dtype=bool)
