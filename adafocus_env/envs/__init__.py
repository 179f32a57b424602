"""The environment: rules (core), the Gymnasium classes over them, locations, rewards, drawing."""

from adafocus_env.envs.actions import (
    ContinuousLocations,
    GridOrSkip,
    Locations,
    PatchChoice,
    PatchGrid,
)
from adafocus_env.envs.core import PatchLocalizationCore
from adafocus_env.envs.outcome import EpisodeResult, Outcome
from adafocus_env.envs.patch_env import PatchLocalizationEnv
from adafocus_env.envs.patch_vector_env import PatchLocalizationVectorEnv
from adafocus_env.envs.rewards import REWARDS
from adafocus_env.shipped import shipped_recognizer

__all__ = [
    "REWARDS",
    "ContinuousLocations",
    "EpisodeResult",
    "GridOrSkip",
    "Locations",
    "Outcome",
    "PatchChoice",
    "PatchGrid",
    "PatchLocalizationCore",
    "PatchLocalizationEnv",
    "PatchLocalizationVectorEnv",
    "shipped_recognizer",
]
