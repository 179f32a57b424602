"""Gymnasium's and Stable-Baselines3's own checkers, every warning an error."""

import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from stable_baselines3.common.env_checker import check_env as check_with_sb3

# What SB3 says of any three-axis Box, and of any action space that is not [-1, 1].
IMAGE_HINTS = (
    "It seems that your observation  is an image but its `dtype`",
    "It seems that your observation space  is an image but the upper and lower bounds",
    "The minimal resolution for an image is 36x36",
    "Treating image space as channels-last",
)
SYMMETRIC_HINT = "We recommend you to use a symmetric and normalized Box action space"


@pytest.mark.parametrize(
    ("env_id", "rules"),
    [
        ("", {"render_mode": "rgb_array", "split": "train"}),
        ("", {"dataset": "glyphs_order", "video_div": 2, "observation": "vector"}),
        ("Continuous", {"observation": "vector"}),
        ("Continuous", {"dataset": "glyphs_memory"}),
        ("Skip", {"skip_cost": "random"}),
    ],
    ids=str,
)
def test_gymnasiums_checker_says_nothing_and_sb3s_what_it_says_of_any_such_space(env_id, rules):
    env = gym.make(f"AdaFocus/PatchLocalization{env_id}-v0", **rules)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_with_gymnasium(env.unwrapped)
    allowed = () if rules.get("observation") == "vector" else IMAGE_HINTS
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_with_sb3(env)
    allowed += (SYMMETRIC_HINT,) * (env_id == "Continuous")
    texts = [str(warning.message) for warning in caught]
    assert [text for text in texts if not text.startswith(allowed)] == []
