"""UntilSure: another agent's looks in a closed loop, until the classifier is sure enough."""

from __future__ import annotations

from typing import Any

from agents.baselines.simple import Agent, RandomOffsets

UNTIL = "until"


class UntilSure:
    """What learning to stop has to beat: a threshold on the largest belief.

    Evaluation asks the other agent where to look, and ends an episode after the first look whose
    largest belief reaches the threshold.

    Args:
        agent: says where to look; it may end episodes itself, before that.
        threshold: a probability above 0; at 1 only a belief that is 1 in float32 ends an episode.

    Raises:
        ValueError: a threshold outside of that.
    """

    def __init__(self, agent: Agent | RandomOffsets, threshold: float):
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"{UNTIL} takes a belief above 0 and up to 1, not {threshold:g}")
        self.agent = agent
        self.threshold = threshold

    @property
    def observation_space(self) -> Any:
        """Of the other agent, if it has one."""
        return getattr(self.agent, "observation_space", None)
