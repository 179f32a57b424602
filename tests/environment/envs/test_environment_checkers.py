"""Gymnasium's and Stable-Baselines3's own checkers, every warning an error."""

import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from stable_baselines3.common.env_checker import check_env as check_with_sb3

GRID = "AdaFocus/PatchLocalization-v0"
CONTINUOUS = "AdaFocus/PatchLocalizationContinuous-v0"
SKIP = "AdaFocus/PatchLocalizationSkip-v0"

# What SB3 says of any three-axis Box, and of any action space that is not [-1, 1].
IMAGE_HINTS = [
    "It seems that your observation  is an image but its `dtype`",
    "It seems that your observation space  is an image but the upper and lower bounds",
    "The minimal resolution for an image is 36x36",
    "Treating image space as channels-last",
]
SYMMETRIC_HINT = "We recommend you to use a symmetric and normalized Box action space"

RULES = (
    {},
    {"observation": "vector"},
    {"render_mode": "rgb_array"},
    {"split": "train"},
    {"dataset": "glyphs_memory"},
    {"dataset": "glyphs_order"},
    {"dataset": "glyphs_order", "video_div": 2, "observation": "vector"},
)
CASES = [
    pytest.param(env_id, rules, id=f"{env_id.split('/')[1]}-{rules}")
    for env_id, more in ((GRID, ()), (CONTINUOUS, ()), (SKIP, ({"skip_cost": "random"},)))
    for rules in (*RULES, *more)
]


@pytest.mark.parametrize(("env_id", "rules"), CASES)
def test_gymnasiums_checker_has_nothing_to_say(env_id, rules):
    env = gym.make(env_id, **rules)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_with_gymnasium(env.unwrapped)


@pytest.mark.parametrize(("env_id", "rules"), CASES)
def test_sb3s_checker_says_only_what_it_says_of_any_such_space(env_id, rules):
    env = gym.make(env_id, **rules)
    allowed = [] if rules.get("observation") == "vector" else list(IMAGE_HINTS)
    if env_id == CONTINUOUS:
        allowed.append(SYMMETRIC_HINT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_with_sb3(env)
    texts = [str(warning.message) for warning in caught]
    assert [text for text in texts if not text.startswith(tuple(allowed))] == []
