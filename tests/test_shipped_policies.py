"""The policies that come with the package: small, usable in one line, and better than chance."""

import gymnasium
import pytest
import torch

from adafocus_env.shipped import SHIPPED, shipped_policy
from agents import AdaFocus, RandomAgent, evaluate_agent

ID = "AdaFocus/PatchLocalization-v0"


@pytest.mark.parametrize(
    ("dataset", "gain"),
    # Of 40 videos: .52 and .40 of return on all 250 (train/README.md), chance earns about 0.
    [("glyphs", 0.3), ("glyphs_memory", 0.2)],
)
def test_a_shipped_policy_earns_more_than_chance_on_videos_it_did_not_learn_on(dataset, gain):
    envs = gymnasium.make_vec(
        ID, num_envs=20, dataset=dataset, split="test", autoreset_mode="disabled"
    ).unwrapped
    learned = AdaFocus.shipped(dataset, device="cpu").policy
    earned, by_chance = (
        evaluate_agent(envs, agent, videos=range(40)).rewards.sum(axis=1).mean()
        for agent in (learned, RandomAgent(envs.single_action_space))
    )
    assert earned > by_chance + gain
    assert sum(file.stat().st_size for file in shipped_policy(dataset).iterdir()) < 1e6


def test_a_shipped_model_names_videos_in_one_line():
    frames = torch.zeros(1, 8, 3, 112, 112, dtype=torch.uint8)
    logits, origins = AdaFocus.shipped(device="cpu").predict(frames)
    assert (logits.shape, origins.shape) == ((1, 8, 10), (1, 8, 2))


def test_what_does_not_come_with_the_package_is_said():
    assert "videos" not in SHIPPED
    for dataset in ("glyphs_order", "videos"):
        with pytest.raises(FileNotFoundError, match=f"no policy for dataset={dataset} .*stage2"):
            shipped_policy(dataset)
