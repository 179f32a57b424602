"""What `GruPPO` needs besides steps and environment to go on after an interruption."""

from __future__ import annotations

import json
from typing import Any

from agents.gru_ppo.algorithm import GruPPO


def learning_state(model: GruPPO) -> dict[str, Any]:
    """Weights, optimiser, and what the next actions, minibatches and videos are drawn from."""
    schedule = model._schedule
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "generator": model._generator.get_state(),
        "schedule": None if schedule is None else json.dumps(schedule.state()),
    }


def restore_learning(model: GruPPO, state: dict[str, Any]) -> None:
    """Take up what `learning_state` returned."""
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    model._generator.set_state(state["generator"])
    if model._schedule is not None:
        model._schedule.restore(json.loads(state["schedule"]))
