"""Agents that decide where to look: a recurrent PPO for Stable-Baselines3, and baselines."""
