"""What is timed, by name. Each task is built once in a process of its own and then run repeatedly.

A task has `run()` and `multiply_adds`, which one run needs at least (0: not known).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TASKS: dict[str, Callable[[], Any]] = {}


def _recurrent(kind: str, what: str) -> Callable[[], Any]:
    def make() -> Any:
        import recurrent_ppo as sizes

        algorithm: Any = (
            sizes.gru_ppo()
            if kind == "gru"
            else sizes.recurrent_ppo(shared=kind == "contrib_shared")
        )
        return sizes.Update(algorithm) if what == "update" else sizes.Rollout(algorithm)

    return make


for _kind in ("gru", "contrib", "contrib_shared"):
    for _what in ("update", "rollout"):
        TASKS[f"{_what}_{_kind}"] = _recurrent(_kind, _what)


def _bank(kind: str, banked: bool) -> Callable[[], Any]:
    def make() -> Any:
        import bank as sizes

        if kind == "rewards":
            return sizes.Rewards(banked=banked)
        return sizes.StageTwo(full_size=kind == "update_full_size", banked=banked)

    return make


for _what in ("rewards", "update_full_size", "update_builtin"):
    for _where in ("bank", "live"):
        TASKS[f"{_what}_{_where}"] = _bank(_what, _where == "bank")
