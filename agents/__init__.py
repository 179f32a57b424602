"""Agents that decide where to look: a recurrent PPO for Stable-Baselines3, and baselines.

Their names are imported when they are asked for: `import agents` is light.
"""

from typing import TYPE_CHECKING

from agents.lazy import imported_when_asked

if TYPE_CHECKING:
    from agents.baselines.blind_skipping import BlindSkipping
    from agents.baselines.oracles import BeamOracle, GreedyOracle
    from agents.baselines.registry import make_baseline
    from agents.baselines.saliency import SaliencyAgent
    from agents.baselines.simple import (
        Agent,
        FixedAgent,
        RandomAgent,
        RandomOffsets,
        SweepAgent,
        center_agent,
    )
    from agents.evaluation import Evaluation, evaluate_agent, on_target, replay_actions
    from agents.gru_ppo.algorithm import GruPPO
    from agents.inference import AdaFocus, StreamState
    from agents.policies.gru_policy import GruActorCriticPolicy
    from agents.policies.policy_files import load_policy, save_policy
    from agents.sb3.vec_env import CenteredActions, Sb3VecEnvAdapter

__all__ = [
    "AdaFocus",
    "Agent",
    "BeamOracle",
    "BlindSkipping",
    "CenteredActions",
    "Evaluation",
    "FixedAgent",
    "GreedyOracle",
    "GruActorCriticPolicy",
    "GruPPO",
    "RandomAgent",
    "RandomOffsets",
    "SaliencyAgent",
    "Sb3VecEnvAdapter",
    "StreamState",
    "SweepAgent",
    "center_agent",
    "evaluate_agent",
    "load_policy",
    "make_baseline",
    "on_target",
    "replay_actions",
    "save_policy",
]

__getattr__ = imported_when_asked(
    __name__,
    {
        "agents.baselines.blind_skipping": ["BlindSkipping"],
        "agents.baselines.oracles": ["BeamOracle", "GreedyOracle"],
        "agents.baselines.registry": ["make_baseline"],
        "agents.baselines.saliency": ["SaliencyAgent"],
        "agents.baselines.simple": [
            "Agent",
            "FixedAgent",
            "RandomAgent",
            "RandomOffsets",
            "SweepAgent",
            "center_agent",
        ],
        "agents.evaluation": ["Evaluation", "evaluate_agent", "on_target", "replay_actions"],
        "agents.gru_ppo.algorithm": ["GruPPO"],
        "agents.inference": ["AdaFocus", "StreamState"],
        "agents.policies.gru_policy": ["GruActorCriticPolicy"],
        "agents.policies.policy_files": ["load_policy", "save_policy"],
        "agents.sb3.vec_env": ["CenteredActions", "Sb3VecEnvAdapter"],
    },
)
