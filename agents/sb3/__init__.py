"""Stable-Baselines3's algorithms on our environments."""

from adafocus_env.lazy import names_of_stub

__all__, __getattr__ = names_of_stub(__name__, __file__)
