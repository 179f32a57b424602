"""Agents that do not learn: what a learned policy has to beat."""

from adafocus_env.lazy import names_of_stub

__all__, __getattr__ = names_of_stub(__name__, __file__)
