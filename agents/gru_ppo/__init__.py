"""GruPPO: PPO whose recurrent policy is trained on whole episodes."""

from agents.gru_ppo.algorithm import GruPPO

__all__ = ["GruPPO"]
