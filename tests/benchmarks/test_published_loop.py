"""The loop that speed is compared to computes what the product computes."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from adafocus_env.envs import PatchGrid, PatchLocalizationCore
from adafocus_env.features import EpisodeStart, LiveFeatures
from adafocus_env.networks import crop_patches
from agents.inference import AdaFocus
from agents.policies.distributions import inverse_cdf
from agents.policies.gru_policy import GruActorCriticPolicy
from published_loop import PublishedLoop, crop_one_by_one

N, T = 3, 4


@pytest.fixture
def policy(tiny_recognizer):
    torch.manual_seed(1)
    return GruActorCriticPolicy(
        spaces.Box(0.0, 6.0, tiny_recognizer.map_shape(), np.float32),
        spaces.Discrete(49),
        lambda _: 1e-3,
        hidden_dim=32,
    )


def test_rollouts_of_the_published_loop_equal_play(tiny_recognizer, policy, make_videos):
    grid = PatchGrid(7, 40, 12)
    videos = make_videos(N)
    core = PatchLocalizationCore(LiveFeatures(tiny_recognizer, videos), grid, grid, num_rows=N)
    core.reset_rows(range(N), [EpisodeStart(row, row) for row in range(N)])
    uniforms = torch.rand(N, T, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        distribution, _ = policy.evaluate_episodes(core.observe_episode())
    actions = inverse_cdf(distribution.probs, uniforms)
    played = core.play(actions)

    loop = PublishedLoop(tiny_recognizer, policy)
    frames = torch.stack([videos.clip(row, row).frames for row in range(N)])
    given = (loop.normalize(frames), core.labels, core._random_offsets, uniforms)
    published_actions, published_rewards = loop.rollout(*given)
    assert torch.equal(published_actions, actions)
    assert len(set(actions.flatten().tolist())) > 3
    assert played.rewards.abs().max() > 0.01
    torch.testing.assert_close(published_rewards, played.rewards, rtol=0, atol=1e-5)


def test_predictions_of_the_published_loop_equal_predict(tiny_recognizer, policy, make_videos):
    frames = make_videos(N).frames[:, :T]
    loop = PublishedLoop(tiny_recognizer, policy)
    logits, _ = AdaFocus(tiny_recognizer, policy).predict(frames)
    published = loop.predict(loop.normalize(frames))
    torch.testing.assert_close(published, logits, rtol=0, atol=1e-5)


def test_features_of_the_published_loop_are_those_of_a_bank(
    tiny_recognizer, make_videos, build_bank, tmp_path
):
    videos, offsets = make_videos(1), PatchGrid(4, 40, 12).all_offsets()
    bank = build_bank(tmp_path, tiny_recognizer, videos, positions=offsets)
    seen = videos.clip(0, bank.episode_seed(0, 0)).frames
    maps, vectors = PublishedLoop(tiny_recognizer).features(seen, offsets)
    stored = bank.stored(torch.device("cpu"))
    clip = torch.tensor([0])
    for name, expected in (("glance_maps", maps), ("patch_vectors", vectors)):
        torch.testing.assert_close(stored.take(name, clip)[0], expected, rtol=1e-3, atol=1e-3)


def test_crops_one_by_one_equal_the_batched_crops():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(5, 3, 20, 20, generator=generator)
    offsets = torch.randint(0, 13, (5, 2), generator=generator)
    assert torch.equal(crop_one_by_one(frames, offsets, 8), crop_patches(frames, offsets, 8))
