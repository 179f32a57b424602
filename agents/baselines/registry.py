"""Baseline agents by name: the names that `policies=` and `policy=` take."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adafocus_env import limits
from adafocus_env.envs import EpisodeCore
from adafocus_env.networks import AnyRecognizer
from agents.baselines.motion import MotionAgent
from agents.baselines.oracles import BeamOracle, GreedyOracle
from agents.baselines.saliency import SaliencyAgent
from agents.baselines.searching import ExpertAgent, RandomDiscs
from agents.baselines.simple import (
    Agent,
    FixedAgent,
    RandomAgent,
    RandomOffsets,
    SweepAgent,
    actions_of_positions,
    center_agent,
)

_DIGITS = 9  # more are never meant
Baseline = Agent | RandomOffsets
# Core, recognizer, and the number after the colon (0 where the name has none).
Make = Callable[[EpisodeCore, AnyRecognizer, int], Baseline]


@dataclass(frozen=True)
class BaselineEntry:
    """One name.

    Attributes:
        make: builds the agent; None for what is no agent of one environment, see `why_not`.
        argument: what the number after the colon is, or None where there is no colon.
        at_most: largest such number.
        by_chance: whether another draw gives other looks.
        knows_label: an oracle: it tries every position or knows the picture, and is no policy that
            could be used.
        why_not: why nothing makes it: the benchmark plays it.
    """

    make: Make | None
    argument: str | None = None
    at_most: int = limits.COUNT
    by_chance: bool = False
    knows_label: bool = False
    why_not: str = ""


def _fixed(core: EpisodeCore, position: int) -> FixedAgent:
    if position >= core.grid.num_actions:
        raise ValueError(
            f"fixed:{position} is not in fixed:0..fixed:{core.grid.num_actions - 1}, the positions "
            f"of a {core.grid.grid_size}x{core.grid.grid_size} grid"
        )
    return FixedAgent(actions_of_positions(core, np.array(position)))


BEST_FIXED, CROSS_ORACLE, FULL_FRAME = "best_fixed", "cross_oracle", "full_frame"

BASELINES: dict[str, BaselineEntry] = {
    "random": BaselineEntry(
        lambda core, _, __: RandomAgent(core.locations.action_space), by_chance=True
    ),
    "center": BaselineEntry(lambda core, _, __: center_agent(core)),
    "greedy_oracle": BaselineEntry(lambda core, _, __: GreedyOracle(core), knows_label=True),
    "random_offsets": BaselineEntry(lambda core, _, __: RandomOffsets(core), by_chance=True),
    "fixed": BaselineEntry(lambda core, _, number: _fixed(core, number), argument="ACTION"),
    "sweep": BaselineEntry(lambda core, _, __: SweepAgent(core)),
    "saliency": BaselineEntry(lambda core, recognizer, _: SaliencyAgent(core, recognizer)),
    "beam_oracle": BaselineEntry(
        lambda core, _, number: BeamOracle(core, number),
        argument="WIDTH",
        at_most=1024,  # sequences, of each of which every position is tried
        knows_label=True,
    ),
    "motion": BaselineEntry(lambda core, _, __: MotionAgent(core)),
    BEST_FIXED: BaselineEntry(None, why_not="its position is chosen on the training split"),
    FULL_FRAME: BaselineEntry(None, argument="SIZE", why_not="its focuser sees whole frames"),
    CROSS_ORACLE: BaselineEntry(
        None, knows_label=True, why_not="two classifiers choose looks for each other"
    ),
    # Of glyphs_search alone.
    "expert": BaselineEntry(
        lambda core, _, __: ExpertAgent(core), by_chance=True, knows_label=True
    ),
    "random_discs": BaselineEntry(lambda core, _, __: RandomDiscs(core), by_chance=True),
}


def baseline_names() -> list[str]:
    """The names as a user writes them, such as `fixed:ACTION`."""
    return [
        name if entry.argument is None else f"{name}:{entry.argument}"
        for name, entry in BASELINES.items()
    ]


def find_baseline(name: str) -> BaselineEntry | None:
    """The entry of a name such as `center` or `fixed:24`; None where there is none.

    Raises:
        ValueError: the number after the colon is missing, not wanted, none or too large.
    """
    stem, colon, number = name.partition(":")
    entry = BASELINES.get(stem)
    if entry is None:
        return None
    if entry.argument is None and colon:
        raise ValueError(f"{name}: {stem} takes nothing after its name")
    if entry.argument is not None and not (number.isascii() and number.isdigit()):
        raise ValueError(f"{name}: write {stem}:{entry.argument}, such as {stem}:4")
    if entry.argument is not None and (len(number) > _DIGITS or int(number) > entry.at_most):
        raise ValueError(f"{reprlib.repr(name)}: {entry.argument} is at most {entry.at_most}")
    return entry


def knows_label(name: str) -> bool:
    """Whether a policy of this name is an oracle, such as `beam_oracle:4`."""
    entry = BASELINES.get(name.partition(":")[0])
    return entry is not None and entry.knows_label


def make_baseline(name: str, core: EpisodeCore, recognizer: AnyRecognizer) -> Baseline:
    """A baseline agent by name.

    Args:
        name: `random`, `center`, `fixed:24`, `beam_oracle:4`, ...
        core: the episodes that it will act in.
        recognizer: the simulator's, for agents that use its networks.

    Raises:
        ValueError: an unknown name, with the nearest known one; or a wrong number.
    """
    entry = find_baseline(name)
    if entry is None:
        raise ValueError(f"unknown policies [{name!r}]; {known_names(name)}")
    if entry.make is None:
        raise ValueError(
            f"{name} is no agent of one environment: {entry.why_not}; 'adafocus benchmark "
            f"policies=[{name}]' plays it"
        )
    number = int(name.partition(":")[2] or 0)
    return entry.make(core, recognizer, number)


def known_names(name: str, *others: str) -> str:
    """What to say about an unknown name.

    Args:
        name: the unknown one.
        others: names that are known beside the baseline agents.
    """
    return known_among(name, [*baseline_names(), *others])


def known_among(name: str, known: Sequence[str]) -> str:
    """What to say about a name that is none of those known: these, and the nearest of them."""
    stems = {item.partition(":")[0]: item for item in known}
    near = difflib.get_close_matches(name.partition(":")[0], stems, n=1)
    hint = f"; did you mean {stems[near[0]]}?" if near else ""
    return f"known are {', '.join(known)}{hint}"
