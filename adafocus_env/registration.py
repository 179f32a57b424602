"""The environment ids. Entry points are strings, so that registering imports no torch."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

_ENV = "adafocus_env.envs.patch_env:PatchLocalizationEnv"
_VECTOR_ENV = "adafocus_env.envs.patch_vector_env:PatchLocalizationVectorEnv"

# Id -> arguments. Episodes end by themselves after T frames, so no `max_episode_steps`.
IDS: dict[str, dict[str, str]] = {
    "AdaFocus/PatchLocalization-v0": {},
    "AdaFocus/PatchLocalizationContinuous-v0": {"locations": "continuous"},
    "AdaFocus/PatchLocalizationSkip-v0": {"locations": "skip", "reward": "skip"},
}


def register_envs() -> None:
    """Add the ids to Gymnasium's registry; those already there are left alone."""
    for env_id, kwargs in IDS.items():
        if env_id not in registry:
            register(env_id, entry_point=_ENV, vector_entry_point=_VECTOR_ENV, kwargs=dict(kwargs))
