"""What is timed, by name. Each task is built once in a process of its own and then run repeatedly.

A task has `run()` and `multiply_adds`, which one run needs at least (0: not known); its `dtype` is
that of the matrix product it is compared with, its `frames` are those one run looks at, where a
rate means something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

        if kind.startswith("build_"):
            return sizes.Build(kind.removeprefix("build_"), published=not banked)
        if kind == "rewards":
            return sizes.Rewards(banked=banked)
        return sizes.StageTwo(kind.removeprefix("update_"), banked=banked)

    return make


_UPDATES = ("update_full_size", "update_builtin", "update_builtin_demo", "update_four_videos")
for _what in ("rewards", *_UPDATES):
    for _where in ("bank", "live"):
        TASKS[f"{_what}_{_where}"] = _bank(_what, _where == "bank")
for _size in ("full_size", "builtin"):
    TASKS[f"build_{_size}_ours"] = _bank(f"build_{_size}", True)
    TASKS[f"build_{_size}_published"] = _bank(f"build_{_size}", False)


@dataclass(frozen=True)
class Function:
    """A task that is one function."""

    run: Callable[[], object]
    multiply_adds: float = 0.0
    dtype: str = "float32"
    frames: int = 0


def _rollout(way: int) -> Callable[[], Any]:
    def make() -> Any:
        import rows

        sizes = rows.Sizes()
        networks = rows.published_networks(sizes)
        return Function(
            rows.rollout_ways(*networks, sizes)[way],
            rows.needed_multiply_adds(*networks, sizes, rewards=True),
            frames=sizes.num_videos * sizes.num_frames,
        )

    return make


def _predict(way: int, amp: str = "none") -> Callable[[], Any]:
    def make() -> Any:
        import rows

        sizes = rows.Sizes()
        networks = rows.published_networks(sizes)
        return Function(
            rows.predict_ways(*networks, sizes, amp=amp)[way],
            rows.needed_multiply_adds(*networks, sizes, rewards=False),
            "bfloat16" if amp == "bf16" else "float32",
            sizes.num_videos * sizes.num_frames,
        )

    return make


def _skip(way: int) -> Callable[[], Any]:
    def make() -> Any:
        import rows

        sizes = rows.Sizes()
        return Function(rows.skip_ways(*rows.published_networks(sizes), sizes)[way])

    return make


def _crops(way: int) -> Callable[[], Any]:
    def make() -> Any:
        import rows

        return Function(rows.crop_ways(rows.Sizes(num_videos=64, num_frames=16))[way])

    return make


for _way, _name in enumerate(("ours", "published")):
    TASKS[f"rollout_{_name}"] = _rollout(_way)
    TASKS[f"predict_{_name}"] = _predict(_way)
    TASKS[f"crops_{_name}"] = _crops(_way)
for _way, _name in enumerate(("skipping", "plain")):
    TASKS[f"predict_{_name}"] = _skip(_way)
TASKS["predict_ours_bf16"] = _predict(0, "bf16")
