"""Agents that decide where to look: a recurrent PPO for Stable-Baselines3, and baselines."""

from adafocus_env.lazy import names_of_stub

__all__, __getattr__ = names_of_stub(__name__, __file__)
