"""Labelled clips for stages 0, 1 and 3: which clips a process sees, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler

from adafocus_env.data import Videos
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng

# Epoch number under which validation clips are drawn: every evaluation sees the same ones.
VALIDATION_EPOCH = 2**32 - 1


@dataclass(frozen=True)
class Batch:
    """Labelled clips and the random numbers that belong to them.

    Attributes:
        frames: `(N, T, 3, H, W)` uint8.
        labels: `(N,)` int64.
        uniforms: `(N, T, 4)` float64 in [0, 1), for whoever needs them: row and column of random
            patches, whether the frame is skipped, and how many of the clip's frames are (T times
            the same).
        indices: `(N,)` which videos of the split they are.
        glance_frames: `(N, T', 3, H, W)` uint8, what the glancer sees; None: `frames` themselves.
    """

    frames: Tensor
    labels: Tensor
    uniforms: Tensor
    indices: Tensor
    glance_frames: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch with its frames and labels on a device."""
        return self._with_moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in memory from which copies to a GPU do not block; called by the loader."""
        return self._with_moved(Tensor.pin_memory)

    def _with_moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        seen = self.glance_frames
        return replace(
            self,
            frames=move(self.frames),
            labels=move(self.labels),
            glance_frames=None if seen is None else move(seen),
        )


class LabelledClips(Dataset[Batch]):
    """A split as batches' items; what is drawn depends on `(seed, epoch, index)` alone.

    So neither the number of workers or processes nor the batch size changes a clip.
    """

    def __init__(self, videos: Videos, seed: int):
        self.videos = videos
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Batch:
        episode_seed = derive_episode_seed(self.seed, self.epoch, index)
        clip = self.videos.clip(index, episode_seed)
        count = len(clip.frames)
        places = episode_rng(episode_seed, Purpose.PATCH).random((count, 2))
        rate, *frames = episode_rng(episode_seed, Purpose.SKIP).random(1 + count)
        uniforms = np.column_stack([places, frames, np.full(count, rate)])
        return Batch(
            clip.frames,
            torch.tensor(clip.label),
            torch.from_numpy(uniforms),
            torch.tensor(index),
            clip.glance_frames,
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


class SharedBatches(Sampler[list[int]]):
    """Whole batches in an order that all processes agree on; yields one process's parts of each.

    Args:
        order: indices of the split in the epoch's order, the same in every process.
        batch_size: of all processes together, a multiple of `share.count * share.parts`.
        share: which part this process takes.
    """

    def __init__(self, order: Sampler[int], batch_size: int, share: Share):
        self._order = order
        self._batch_size = batch_size
        self._share = share

    def __iter__(self) -> Iterator[list[int]]:
        part_size = self._batch_size // (self._share.count * self._share.parts)
        first_part = self._share.rank * self._share.parts
        batch: list[int] = []
        for index in self._order:
            batch.append(index)
            if len(batch) == self._batch_size:
                for part in range(first_part, first_part + self._share.parts):
                    yield batch[part * part_size : (part + 1) * part_size]
                batch = []


def load_batches(
    clips: LabelledClips,
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
        batch_size: of all processes together when training; of this one otherwise.
        workers: processes that load clips.
        train: training, or evaluation, where a process takes every `share.count`-th video.
        share: this process's part; None is all.
    """
    share = share or Share()
    clips.epoch = epoch
    generator = torch.Generator().manual_seed(derive_episode_seed(clips.seed, epoch) % 2**63)
    sampler: Sampler[list[int]] | list[list[int]]
    if train:
        order = RandomSampler(clips, generator=generator)
        sampler = SharedBatches(order, batch_size, share)
    else:
        own = range(share.rank, len(clips), share.count)
        sampler = [list(own[i : i + batch_size]) for i in range(0, len(own), batch_size)]
    loader: DataLoader[Batch] = DataLoader(
        clips,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        generator=generator,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def _collate(items: Sequence[Batch]) -> Batch:
    seen = [item.glance_frames for item in items if item.glance_frames is not None]
    return Batch(
        torch.stack([item.frames for item in items]),
        torch.stack([item.labels for item in items]),
        torch.stack([item.uniforms for item in items]),
        torch.stack([item.indices for item in items]),
        torch.stack(seen) if seen else None,
    )
