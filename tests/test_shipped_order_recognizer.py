"""The shipped recognizer of `glyphs_order`: where it must look, and that it sees the order."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.envs import shipped_recognizer
from adafocus_env.networks import FrozenNetworks, ShiftRecognizer
from adafocus_env.networks.temporal_shift import set_clip_length

VIDEOS = 60
SIDE, PATCH, T = 112, 48, 4
LABELS = np.arange(VIDEOS) % 10


def nearest_positions(centers):
    """`(V,)` grid positions whose patches lie around centres `(V, 2)` as (row, col)."""
    line = np.arange(7) * (SIDE - PATCH) // 6 + PATCH / 2
    nearest = np.abs(centers[..., None] - line).argmin(axis=-1)
    return np.asarray(nearest[:, 0] * 7 + nearest[:, 1])


@pytest.fixture(scope="module")
def targets():
    """`(V,)` positions of the targets of validation."""
    options = VideoOptions(num_frames=T, num_glance_frames=T, frame_size=SIDE)
    videos = open_videos("glyphs_order", "val", options)
    centers = [videos.target_centers(index) for index in range(VIDEOS)]
    return nearest_positions(np.stack([center.mean(axis=0) for center in centers]))


@pytest.fixture(scope="module")
def env():
    return gym.make_vec(
        "AdaFocus/PatchLocalization-v0",
        num_envs=VIDEOS,
        dataset="glyphs_order",
        autoreset_mode="disabled",
    )


def look_at(env, positions):
    """Play one position a video; also the classes that are named."""
    env.reset(seed=0, options={"video_index": np.arange(VIDEOS)})
    result = env.play(positions[:, None])
    return result, result.logits[:, 0].argmax(dim=1).numpy()


def test_on_the_target_pair_and_order_are_named_and_elsewhere_they_are_not(env, targets):
    assert env.num_decisions == 1  # over the glance maps of four frames
    assert env.single_observation_space.shape == (4 * 48, 7, 7)
    on_target, named = look_at(env, targets)
    assert (named == LABELS).mean() > 0.9
    away, guessed = look_at(env, 48 - targets)  # mirrored at the middle
    missed = np.abs(targets // 7 - 3) + np.abs(targets % 7 - 3) >= 4
    assert missed.sum() > 10
    assert (guessed == LABELS)[missed].mean() < 0.35
    gained = on_target.rewards[:, 0].mean() - away.rewards[missed, 0].mean()
    assert float(gained) > 0.4


def test_without_the_shift_the_same_weights_know_the_pair_but_not_the_order(env, targets):
    """A clip and the same clip played backwards: the class must turn with it."""
    recognizer, alone = (ShiftRecognizer.load(shipped_recognizer("glyphs_order")) for _ in "12")
    for part in (alone.glancer, alone.focuser):
        set_clip_length(part, 1)  # frames have no neighbours to exchange channels with
    options = VideoOptions(num_frames=T, num_glance_frames=T, frame_size=SIDE)
    videos = open_videos("glyphs_order", "val", options)
    frames = torch.stack([videos.clip(index, 0).frames for index in range(VIDEOS)])
    offsets = env.core.grid.offsets(torch.from_numpy(targets)).repeat_interleave(T, dim=0)

    def named(recognizer, clips):
        networks = FrozenNetworks(recognizer)
        _, glances = networks.glance(clips.flatten(0, 1))
        patches = networks.focus(clips.flatten(0, 1), offsets)
        with torch.no_grad():
            logits, _ = recognizer.eval().classify_sequence(
                recognizer.glance_context(glances.view(VIDEOS, 1, -1)),
                patches.view(VIDEOS, 1, T, -1).mean(dim=2),
            )
        return np.asarray(logits[:, -1].argmax(dim=1))

    forward, backward = (named(recognizer, clips) for clips in (frames, frames.flip(1)))
    reverse = LABELS ^ 1  # 0 then 1 becomes 1 then 0
    assert (forward == LABELS).mean() > 0.9
    assert (backward == reverse).mean() > 0.9
    blind = named(alone, frames)
    assert (named(alone, frames.flip(1)) == blind).mean() > 0.95  # up to rounding
    assert (blind == LABELS).mean() <= 0.6
