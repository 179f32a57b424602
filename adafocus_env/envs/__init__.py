"""The environment: rules (core), the Gymnasium classes over them, locations, rewards, drawing."""

from adafocus_env.envs.actions import (
    ContinuousLocations,
    GridOrSkip,
    Locations,
    PatchChoice,
    PatchGrid,
)
from adafocus_env.envs.active_env import ActiveVisionEnv
from adafocus_env.envs.active_vector_env import ActiveVisionVectorEnv
from adafocus_env.envs.closed_loop import OBSERVATIONS, ActiveVisionCore
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.episode_vector_env import EpisodeVectorEnv
from adafocus_env.envs.open_loop import PatchLocalizationCore
from adafocus_env.envs.outcome import EpisodeResult, LoopResult, Outcome
from adafocus_env.envs.patch_env import PatchLocalizationEnv
from adafocus_env.envs.patch_vector_env import PatchLocalizationVectorEnv
from adafocus_env.envs.rewards import REWARDS
from adafocus_env.shipped import shipped_recognizer

__all__ = [
    "OBSERVATIONS",
    "REWARDS",
    "ActiveVisionCore",
    "ActiveVisionEnv",
    "ActiveVisionVectorEnv",
    "ContinuousLocations",
    "EpisodeCore",
    "EpisodeResult",
    "EpisodeVectorEnv",
    "GridOrSkip",
    "Locations",
    "LoopResult",
    "Outcome",
    "PatchChoice",
    "PatchGrid",
    "PatchLocalizationCore",
    "PatchLocalizationEnv",
    "PatchLocalizationVectorEnv",
    "shipped_recognizer",
]
