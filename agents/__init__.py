"""Agents that decide where to look: a recurrent PPO for Stable-Baselines3, and baselines."""

from agents.baselines.oracles import BeamOracle
from agents.baselines.simple import (
    FixedAgent,
    GreedyOracle,
    RandomAgent,
    RandomOffsets,
    SweepAgent,
    center_agent,
)
from agents.evaluation import Evaluation, evaluate_agent
from agents.gru_ppo import GruPPO
from agents.inference import AdaFocus
from agents.sb3.vec_env import Sb3VecEnvAdapter

__all__ = [
    "AdaFocus",
    "BeamOracle",
    "Evaluation",
    "FixedAgent",
    "GreedyOracle",
    "GruPPO",
    "RandomAgent",
    "RandomOffsets",
    "Sb3VecEnvAdapter",
    "SweepAgent",
    "center_agent",
    "evaluate_agent",
]
