"""The environment ids. Entry points are strings, so that registering imports no torch."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

# Family -> entry points of the single and of the vector environment.
_ENTRY_POINTS = {
    "PatchLocalization": (
        "adafocus_env.envs.patch_env:PatchLocalizationEnv",
        "adafocus_env.envs.patch_vector_env:PatchLocalizationVectorEnv",
    ),
    "ActiveVision": (
        "adafocus_env.envs.active_env:ActiveVisionEnv",
        "adafocus_env.envs.active_vector_env:ActiveVisionVectorEnv",
    ),
}

# Id -> arguments. Episodes end by themselves after all looks, so no `max_episode_steps`.
IDS: dict[str, dict[str, str]] = {
    "AdaFocus/PatchLocalization-v0": {},
    "AdaFocus/PatchLocalizationContinuous-v0": {"locations": "continuous"},
    "AdaFocus/PatchLocalizationSkip-v0": {"locations": "skip", "reward": "skip"},
    "AdaFocus/ActiveVision-v0": {},
}


def register_envs() -> None:
    """Add the ids to Gymnasium's registry; those already there are left alone."""
    for env_id, kwargs in IDS.items():
        if env_id not in registry:
            family = "ActiveVision" if "ActiveVision" in env_id else "PatchLocalization"
            single, vector = _ENTRY_POINTS[family]
            register(env_id, entry_point=single, vector_entry_point=vector, kwargs=dict(kwargs))
