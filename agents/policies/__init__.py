"""Policies: networks, distributions of actions, what they see, their files."""

from typing import TYPE_CHECKING

from agents.lazy import imported_when_asked

if TYPE_CHECKING:
    from agents.policies.glance_extractor import GlanceMapExtractor
    from agents.policies.gru_policy import GlanceMapEncoder, GruActorCriticPolicy, PolicyStep
    from agents.policies.policy_files import SavedPolicy, load_policy, load_trusted_zip, save_policy

__all__ = [
    "GlanceMapEncoder",
    "GlanceMapExtractor",
    "GruActorCriticPolicy",
    "PolicyStep",
    "SavedPolicy",
    "load_policy",
    "load_trusted_zip",
    "save_policy",
]

__getattr__ = imported_when_asked(
    __name__,
    {
        "agents.policies.glance_extractor": ["GlanceMapExtractor"],
        "agents.policies.gru_policy": ["GlanceMapEncoder", "GruActorCriticPolicy", "PolicyStep"],
        "agents.policies.policy_files": [
            "SavedPolicy",
            "load_policy",
            "load_trusted_zip",
            "save_policy",
        ],
    },
)
