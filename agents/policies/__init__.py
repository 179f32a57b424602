"""Policies: networks, distributions of actions, what they see, their files."""

from adafocus_env.lazy import names_of_stub

__all__, __getattr__ = names_of_stub(__name__, __file__)
