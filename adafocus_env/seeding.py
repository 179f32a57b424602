"""Random numbers of an episode: one 64-bit seed, one independent stream for each purpose."""

from __future__ import annotations

import enum

import numpy as np


class Purpose(enum.IntEnum):
    """What a random stream of an episode is for.

    The numbers enter the seeds, so changing one changes every episode.
    """

    FRAMES = 0
    CROP = 1
    FLIP = 2
    BASELINE = 3
    ACTION = 4
    PATCH = 5
    VIEW = 6
    SKIP_COST = 7
    SKIP = 8


def episode_rng(episode_seed: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one purpose of one episode.

    Streams of different purposes are independent, so another reward, another crop or prefetching
    changes nothing in the rest of the episode.

    Args:
        episode_seed: integer in `[0, 2**64)`.
        purpose: which of the episode's streams.
    """
    return np.random.default_rng(np.random.SeedSequence([episode_seed, int(purpose)]))


def draw_episode_seed(rng: np.random.Generator) -> int:
    """Draw the 64-bit seed of one episode from a row's own generator."""
    return int(rng.integers(0, 2**64, dtype=np.uint64))


def derive_episode_seed(seed: int, *keys: int) -> int:
    """The 64-bit episode seed that belongs to `(seed, *keys)`, whatever was drawn before.

    Evaluation uses `(seed, video_index, draw)` and the supervised stages `(seed, epoch,
    video_index)`: results depend neither on the batch size nor on the number of workers.
    """
    words = np.random.SeedSequence([seed, *keys]).generate_state(1, np.uint64)
    return int(words[0])
