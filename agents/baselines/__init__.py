"""Agents that do not learn: what a learned policy has to beat."""

from typing import TYPE_CHECKING

from agents.lazy import imported_when_asked

if TYPE_CHECKING:
    from agents.baselines.blind_skipping import BlindSkipping
    from agents.baselines.oracles import BeamOracle, GreedyOracle, Oracle
    from agents.baselines.registry import baseline_names, find_baseline, knows_label, make_baseline
    from agents.baselines.saliency import SaliencyAgent
    from agents.baselines.simple import (
        Agent,
        BaselineAgent,
        FixedAgent,
        RandomAgent,
        RandomOffsets,
        SeededAgent,
        SweepAgent,
        center_agent,
    )

__all__ = [
    "Agent",
    "BaselineAgent",
    "BeamOracle",
    "BlindSkipping",
    "FixedAgent",
    "GreedyOracle",
    "Oracle",
    "RandomAgent",
    "RandomOffsets",
    "SaliencyAgent",
    "SeededAgent",
    "SweepAgent",
    "baseline_names",
    "center_agent",
    "find_baseline",
    "knows_label",
    "make_baseline",
]

__getattr__ = imported_when_asked(
    __name__,
    {
        "agents.baselines.blind_skipping": ["BlindSkipping"],
        "agents.baselines.oracles": ["BeamOracle", "GreedyOracle", "Oracle"],
        "agents.baselines.registry": [
            "baseline_names",
            "find_baseline",
            "knows_label",
            "make_baseline",
        ],
        "agents.baselines.saliency": ["SaliencyAgent"],
        "agents.baselines.simple": [
            "Agent",
            "BaselineAgent",
            "FixedAgent",
            "RandomAgent",
            "RandomOffsets",
            "SeededAgent",
            "SweepAgent",
            "center_agent",
        ],
    },
)
