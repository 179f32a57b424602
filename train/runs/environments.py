"""The configured environment over a split, of either family."""

from __future__ import annotations

from typing import Any

from adafocus_env.data import Videos
from adafocus_env.envs import (
    OBSERVATIONS,
    ActiveVisionVectorEnv,
    PatchLocalizationVectorEnv,
)
from adafocus_env.networks import AnyRecognizer
from agents.evaluation import VectorEnvironment
from train.config.learning import GLANCES, PlayedSection


def make_environment(
    config: PlayedSection,
    recognizer: AnyRecognizer,
    videos: Videos,
    *,
    observation: str | tuple[str, ...],
    skip_cost: float | str | None = None,
    reward: str | None = None,
    **rules: Any,
) -> VectorEnvironment:
    """A vector environment.

    Args:
        config: of the command: which family, its looks and actions.
        recognizer: the simulator.
        videos: the split.
        observation: `"map"` or `"vector"`, which stand for everything in a closed loop; or names.
        skip_cost: where an action skips.
        reward: None is `"conf"`, which needs no patch beside the policy's.
        **rules: of `from_parts`.
    """
    rules["reward"] = reward or "conf"
    if config.env == "patch":
        return PatchLocalizationVectorEnv.from_parts(
            recognizer,
            videos,
            locations=config.locations,
            skip_cost=skip_cost if config.locations == "skip" else None,
            observation=observation,
            **rules,
        )
    return ActiveVisionVectorEnv.from_parts(
        recognizer,
        videos,
        locations=config.locations,
        observation=OBSERVATIONS if observation in GLANCES else observation,
        looks_per_frame=config.looks_per_frame,
        look_cost=config.look_cost,
        stop=config.stop,
        **rules,
    )
