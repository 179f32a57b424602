"""Gymnasium's and Stable-Baselines3's own checkers, every warning an error."""

import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from stable_baselines3.common.env_checker import check_env as check_with_sb3

PARTS = ("", "glance")  # of an observation, by name where it has several
# What SB3 says of any three-axis Box, and of any action space that is not [-1, 1].
IMAGE_HINTS = (
    *(f"It seems that your observation {part} is an image but its `dtype`" for part in PARTS),
    *(
        f"It seems that your observation space {part} is an image but the upper and lower bounds"
        for part in PARTS
    ),
    "The minimal resolution for an image is 36x36",
    "Treating image space as channels-last",
)
SYMMETRIC_HINT = "We recommend you to use a symmetric and normalized Box action space"


@pytest.mark.parametrize(
    ("env_id", "rules"),
    [
        ("PatchLocalization", {"render_mode": "rgb_array", "split": "train"}),
        (
            "PatchLocalization",
            {"dataset": "glyphs_order", "video_div": 2, "observation": "vector"},
        ),
        ("PatchLocalizationContinuous", {"observation": "vector"}),
        ("PatchLocalizationContinuous", {"dataset": "glyphs_memory"}),
        ("PatchLocalizationSkip", {"skip_cost": "random"}),
        ("ActiveVision", {"render_mode": "rgb_array", "num_frames": 3}),
        (
            "ActiveVision",
            {
                "render_mode": "rgb_array",
                "num_frames": 3,
                "stop": True,
                "observation": ["patch", "belief"],
            },
        ),
    ],
    ids=str,
)
def test_gymnasiums_checker_says_nothing_and_sb3s_what_it_says_of_any_such_space(env_id, rules):
    env = gym.make(f"AdaFocus/{env_id}-v0", **rules)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_with_gymnasium(env.unwrapped)
    allowed = () if rules.get("observation") == "vector" else IMAGE_HINTS
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_with_sb3(env)
    allowed += (SYMMETRIC_HINT,) * env_id.endswith("Continuous")
    texts = [str(warning.message) for warning in caught]
    assert [text for text in texts if not text.startswith(allowed)] == []
