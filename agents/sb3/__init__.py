"""Stable-Baselines3's algorithms on our environments."""
