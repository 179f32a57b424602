"""A parity `Case`, and the environment over it: frames normalised already, random patches given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import fill_rule
from adafocus_env.data.clips import Clip
from adafocus_env.envs import PatchGrid, PatchLocalizationCore
from adafocus_env.features import EpisodeStart, LiveFeatures
from adafocus_env.features.live import LiveEpisodes
from adafocus_env.networks import RecognizerConfig


@dataclass(frozen=True)
class Case:
    """What a run is computed from, beside the networks.

    Attributes:
        frames: `(B, T, 3, H, H)` float32, normalised already.
        labels: `(B,)`.
        grid_size: G.
        actions: `(T, B)` forced actions.
        baseline_offsets: `(T, B, 2)` (top, left) of the random patches.
        stage1_offsets: `(B, T, 2)`.
        log_prob_shift: `(T, B)`, added to stored log-probabilities in update 3.
        glance_frames: `(B, T', 3, H, H)`, what the glancer sees; None: `frames`.
    """

    frames: Tensor
    labels: Tensor
    grid_size: int
    actions: Tensor
    baseline_offsets: Tensor
    stage1_offsets: Tensor
    log_prob_shift: Tensor
    glance_frames: Tensor | None = None


def make_case(num_videos, num_frames, side, patch, grid_size, *, labels, actions):
    """Frames and offsets of the rule."""
    size, free = (num_videos, num_frames), side - patch
    return Case(
        frames=fill_rule.waves(*size, side),
        labels=torch.tensor(labels),
        grid_size=grid_size,
        actions=actions,
        baseline_offsets=fill_rule.baseline_offsets(*size, free),
        stage1_offsets=fill_rule.stage1_offsets(*size, free),
        log_prob_shift=torch.from_numpy(fill_rule.log_prob_shift(*size)),
    )


# Entries of a configuration under which frames count as normalised: mean 0, deviation 1/255.
NORMALISED = {
    "pixel_mean": (0.0, 0.0, 0.0),
    "pixel_std": (1 / 255.0, 1 / 255.0, 1 / 255.0),
}


def normalised_config(**entries):
    """A configuration of the recurrent family under which frames count as normalised."""
    return RecognizerConfig(**entries, **NORMALISED)


class _GivenClips:
    """The case's clips as a split of videos; an episode's seed is its video's index."""

    def __init__(self, case, class_names):
        self.class_names = class_names
        self.labels = case.labels.numpy()
        self.label_sets = tuple((int(label),) for label in self.labels)
        self.num_frames, self.frame_size = case.frames.shape[1], case.frames.shape[-1]
        self._frames, self._glance_frames = case.frames, case.glance_frames
        self.num_glance_frames = None if case.glance_frames is None else case.glance_frames.shape[1]

    def __len__(self):
        return len(self.labels)

    def clip(self, index, episode_seed):
        seen = None if self._glance_frames is None else self._glance_frames[index]
        return Clip(self._frames[index], int(self.labels[index]), seen)

    def target_centers(self, index):
        return None


class _FloatEpisodes(LiveEpisodes):
    """Keeps frames as they are; the product's are uint8."""

    def __init__(self, source, num_rows):
        super().__init__(source, num_rows)
        self._frames = self._frames.float()


class _FloatFeatures(LiveFeatures):
    def open(self, num_rows):
        return _FloatEpisodes(self, num_rows)


class _GivenBaseline(PatchLocalizationCore):
    """Takes the case's random patches instead of drawing them."""

    given: Tensor  # (B, T, 2)

    def reset_rows(self, rows, starts, skip_costs=None):
        super().reset_rows(rows, starts, skip_costs)
        for row, start in zip(rows, starts, strict=True):
            self._random_offsets[row] = self.given[start.video_index]


def make_core(case, recognizer, reward):
    """All videos of the case, each at its first frame."""
    videos = _GivenClips(case, recognizer.config.class_names)
    source = _FloatFeatures(recognizer, videos)
    grid = PatchGrid(case.grid_size, source.frame_size, source.patch_size)
    core = _GivenBaseline(source, grid, grid, num_rows=len(videos), reward=reward)
    core.given = case.baseline_offsets.transpose(0, 1)
    core.reset_rows(range(len(videos)), [EpisodeStart(b, b) for b in range(len(videos))])
    return core
