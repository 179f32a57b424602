"""Labelled clips for stages 0, 1 and 3: which clips a process sees, and in which order.

A split is given as its videos, whose frames are read, or as a bank of their features, with which
nothing is read. Both have the same order and the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from accelerate.data_loader import BatchSamplerShard
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler

from adafocus_env.data import Videos
from adafocus_env.data.clip_loader import ClipKey, ClipLoader
from adafocus_env.data.clips import Clip
from adafocus_env.envs.skip_cost import RANDOM, cost_at
from adafocus_env.features import BankEpisodes, BankFeatures, EpisodeStart
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng

_BATCHES_AHEAD = 2  # that workers may have loaded before they are needed
# Epoch number under which validation clips are drawn: every evaluation sees the same ones.
VALIDATION_EPOCH = 2**32 - 1


@dataclass(frozen=True)
class Chance:
    """The random numbers that belong to N clips, float64 in [0, 1), for the stages that need them.

    Attributes:
        places: `(N, T, 2)` row and column of a random patch in each frame; with several looks at
            a frame T counts looks, here and below.
        skips: `(N, T)` decides for each frame whether it is skipped.
        shares: `(N,)` decides for each clip how many of its frames are.
    """

    places: Tensor
    skips: Tensor
    shares: Tensor

    def per_decision(self, group: int) -> Chance:
        """Those of each decision, which serves `group` frames: its first frame's."""
        return replace(self, places=self.places[:, ::group], skips=self.skips[:, ::group])

    def focused(self, skip_rate: float | str | None) -> Tensor:
        """`(N, T)` bool: which frames keep their patches, so that a classifier knows zeros.

        Args:
            skip_rate: share of the frames that are skipped; `"random"` is another in each clip,
                uniform in [0, 1); None skips none.
        """
        if skip_rate is None:
            return torch.ones(self.skips.shape, dtype=torch.bool)
        rate = self.shares[:, None] if isinstance(skip_rate, str) else skip_rate
        kept: Tensor = self.skips >= rate
        return kept

    def costs(self, skip_cost: float | str | None) -> Tensor:
        """`(N,)` costs of looks for a policy that must know them.

        Args:
            skip_cost: a number; `"random"` and None are random, as when the policy learned.
        """
        if skip_cost is None or skip_cost == RANDOM:
            return cost_at(self.shares)
        return torch.full(self.shares.shape, float(skip_cost), dtype=torch.float64)


@dataclass(frozen=True)
class Batch:
    """Labelled clips and the random numbers that belong to them.

    Attributes:
        frames: `(N, T, 3, H, W)` uint8; empty where a bank has the clips' features.
        labels: `(N,)` int64.
        chance: what is drawn for them, on the CPU.
        indices: `(N,)` which videos of the split they are.
        glance_frames: `(N, T', 3, H, W)` uint8, what the glancer sees; None: `frames` themselves.
        features: the clips in N rows, where a bank has their features.
    """

    frames: Tensor
    labels: Tensor
    chance: Chance
    indices: Tensor
    glance_frames: Tensor | None = None
    features: BankEpisodes | None = None

    @property
    def seen(self) -> Tensor:
        """What the glancer sees."""
        return self.frames if self.glance_frames is None else self.glance_frames

    def to(self, device: torch.device) -> Batch:
        """The batch with its frames and labels on a device."""
        return self._with_moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in memory from which copies to a GPU do not block."""
        return self._with_moved(Tensor.pin_memory)

    def _with_moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            frames=move(self.frames),
            labels=move(self.labels),
            glance_frames=None if self.glance_frames is None else move(self.glance_frames),
        )


class LabelledClips:
    """A split whose frames are read; what is drawn depends on `(seed, epoch, index)` alone.

    So neither the number of workers or processes nor the batch size changes a clip.
    """

    def __init__(self, videos: Videos, seed: int, looks_per_frame: int = 1):
        self.videos = videos
        self.seed = seed
        self._looks_per_frame = looks_per_frame

    def __len__(self) -> int:
        return len(self.videos)

    def load(self, epoch: int, batches: Sequence[list[int]], workers: int) -> Iterator[Batch]:
        """The clips of these indices, batch by batch, from workers that load ahead."""
        keys = [[self._key(epoch, index) for index in batch] for batch in batches]
        loader = ClipLoader(self.videos, workers)
        try:
            for number, batch in enumerate(keys):
                loader.prefetch(list(chain(*keys[number : number + 1 + _BATCHES_AHEAD])))
                yield self._collate(loader.load(batch), batch)
        finally:
            loader.close()

    def _key(self, epoch: int, index: int) -> ClipKey:
        return index, derive_episode_seed(self.seed, epoch, index)

    def _collate(self, clips: Sequence[Clip], keys: Sequence[ClipKey]) -> Batch:
        seen = [clip.glance_frames for clip in clips if clip.glance_frames is not None]
        chances = [
            _draw_chance(episode_seed, len(clip.frames) * self._looks_per_frame)
            for clip, (_, episode_seed) in zip(clips, keys, strict=True)
        ]
        return Batch(
            torch.stack([clip.frames for clip in clips]),
            torch.tensor([clip.label for clip in clips]),
            _stack_chances(chances),
            torch.tensor([index for index, _ in keys]),
            torch.stack(seen) if seen else None,
        )


class BankedClips:
    """As `LabelledClips`, of a bank: a clip's seed chooses one of the video's views."""

    def __init__(self, source: BankFeatures, seed: int, looks_per_frame: int = 1):
        self.videos = source.videos
        self.seed = seed
        self._looks_per_frame = looks_per_frame
        self._source = source

    def __len__(self) -> int:
        return len(self.videos)

    def load(self, epoch: int, batches: Sequence[list[int]], workers: int) -> Iterator[Batch]:
        """The features of the clips of these indices; workers have nothing to do."""
        del workers
        count = self._source.num_decisions * self._looks_per_frame
        for batch in batches:
            seeds = [derive_episode_seed(self.seed, epoch, index) for index in batch]
            features = self._source.open(len(batch))
            features.load(range(len(batch)), list(map(EpisodeStart, batch, seeds)))
            yield Batch(
                torch.empty(len(batch), 0, dtype=torch.uint8),
                features.labels,
                _stack_chances([_draw_chance(seed, count) for seed in seeds]),
                torch.tensor(batch),
                features=features,
            )


def clips_of(
    split: Videos | BankFeatures, seed: int, looks_per_frame: int = 1
) -> LabelledClips | BankedClips:
    """The clips of a split, of which either the videos or a bank are there."""
    if isinstance(split, BankFeatures):
        return BankedClips(split, seed, looks_per_frame)
    return LabelledClips(split, seed, looks_per_frame)


def _draw_chance(episode_seed: int, count: int) -> Chance:
    """The random numbers of one clip of `count` looks."""
    places = episode_rng(episode_seed, Purpose.PATCH).random((count, 2))
    share, *skips = episode_rng(episode_seed, Purpose.SKIP).random(1 + count)
    return Chance(torch.from_numpy(places), torch.from_numpy(np.array(skips)), torch.tensor(share))


def _stack_chances(chances: Sequence[Chance]) -> Chance:
    return Chance(
        torch.stack([chance.places for chance in chances]),
        torch.stack([chance.skips for chance in chances]),
        torch.stack([chance.shares for chance in chances]),
    )


@dataclass(frozen=True)
class Share:
    """One process's part of every batch.

    Attributes:
        rank: 0-based number of the process.
        count: processes; each takes an equal part of a batch.
        parts: into which the process's own part is split again (gradient accumulation).
    """

    rank: int = 0
    count: int = 1
    parts: int = 1


def load_batches(
    clips: LabelledClips | BankedClips,
    epoch: int,
    *,
    batch_size: int,
    workers: int,
    train: bool,
    share: Share | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch: shuffled, the incomplete last one dropped, when training.

    Args:
        clips: the split.
        epoch: part of every clip's seed.
        batch_size: of all processes together when training, a multiple of their parts; of this one
            otherwise.
        workers: processes that load clips; those of a bank need none.
        train: training, or evaluation, where a process takes every `share.count`-th video.
        share: this process's part; None is all.
    """
    share = share or Share()
    generator = torch.Generator().manual_seed(derive_episode_seed(clips.seed, epoch) % 2**63)
    if train:  # one order for all processes; each takes its part of every batch
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # as DataLoader does
        whole = BatchSampler(RandomSampler(clips, generator=generator), batch_size, drop_last=True)
        own = BatchSamplerShard(whole, share.count, share.rank, split_batches=True)
        part_size = batch_size // (share.count * share.parts)
        batches = list(BatchSampler(chain.from_iterable(own), part_size, drop_last=True))
    else:
        videos = range(share.rank, len(clips), share.count)
        batches = [list(videos[i : i + batch_size]) for i in range(0, len(videos), batch_size)]
    loaded = clips.load(epoch, batches, workers)
    return (batch.pin_memory() for batch in loaded) if torch.cuda.is_available() else loaded
