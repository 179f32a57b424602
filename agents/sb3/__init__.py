"""Stable-Baselines3's algorithms on our environments."""

from typing import TYPE_CHECKING

from agents.lazy import imported_when_asked

if TYPE_CHECKING:
    from agents.sb3.registry import ALGORITHMS, PRESETS, algorithm_arguments, algorithm_class
    from agents.sb3.resume import restore_training_state, training_state
    from agents.sb3.vec_env import CenteredActions, Sb3VecEnvAdapter

__all__ = [
    "ALGORITHMS",
    "PRESETS",
    "CenteredActions",
    "Sb3VecEnvAdapter",
    "algorithm_arguments",
    "algorithm_class",
    "restore_training_state",
    "training_state",
]

__getattr__ = imported_when_asked(
    __name__,
    {
        "agents.sb3.registry": ["ALGORITHMS", "PRESETS", "algorithm_arguments", "algorithm_class"],
        "agents.sb3.resume": ["restore_training_state", "training_state"],
        "agents.sb3.vec_env": ["CenteredActions", "Sb3VecEnvAdapter"],
    },
)
