"""FeatureBank: what frozen networks make of a split, computed once and kept on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from adafocus_env.data.clips import Videos
from adafocus_env.features.bank_files import (
    IDENTITY,
    MANIFEST_FILE,
    PART_FILE,
    Manifest,
    bank_identity,
    open_shard,
    shard_file,
)
from adafocus_env.features.stored_features import StoredFeatures, joined
from adafocus_env.files import CheckpointError, differences, write_json
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.schema import closed, read_checked
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng

log = logging.getLogger(__name__)

# Part of a GPU's free memory that a bank may take; the rest is for rollouts and their gradients.
_GPU_SHARE = 0.6


class FeatureBank:
    """Glance maps, glance vectors and patch vectors of every clip of a split, in float16.

    Patch vectors are there for the positions of one grid. The clip of a video is that of a fixed
    episode seed, derived from `(seed, video, view)`: evaluation, where clips are not drawn, needs
    one view; for training several views hold several crops of each video, and an episode's own
    seed picks one.

    Attributes:
        folder: where the files are.
        settings: what the bank was made of and how, as in its manifest.
        layout: sizes.
        labels: `(V,)` true classes, int64.
        positions: `(A, 2)` (top, left) pixels of the patches.
        patch_size: side P of the patches in pixels.
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.settings = manifest.settings
        self.layout = manifest.layout
        self.positions = torch.tensor(self.settings["positions"]["offsets"], dtype=torch.int64)
        self.patch_size = int(self.settings["patch_size"])
        shards = range(self.layout.num_shards)
        mapped = [open_shard(shard_file(folder, i), self.layout, i) for i in shards]
        self.labels = torch.cat([arrays["labels"] for arrays in mapped])
        self._mapped = {name: [a[name] for a in mapped] for name in self.layout.clip_shapes}
        self._on_device: dict[torch.device, StoredFeatures] = {}

    def clips(self, videos: Tensor, views: Tensor) -> Tensor:
        """Where the stored features of clips lie.

        Args:
            videos: `(M,)` of the split.
            views: `(M,)` of each.
        """
        return videos * self.layout.views + views

    @classmethod
    def open(cls, folder: str | Path) -> FeatureBank:
        """Open a finished bank, or a part of one; features are mapped into memory, not read.

        Raises:
            FileNotFoundError: there is none.
            CheckpointError: a file is damaged or missing.
        """
        folder = Path(folder)
        if (folder / PART_FILE).is_file():
            return BankPart.open(folder)
        if not (folder / MANIFEST_FILE).is_file():
            begun = "an unfinished" if any(folder.glob("shard-*")) else "no"
            raise FileNotFoundError(
                f"{begun} feature bank in {folder}: {MANIFEST_FILE} is missing; {_command(folder)} "
                "makes it"
            )
        return cls(folder, Manifest.read(folder))

    def check(
        self, recognizer: AnyRecognizer, videos: Videos, *, positions: Tensor, patch_size: int
    ) -> None:
        """Refuse a bank that was made of something else than what is in use.

        Raises:
            CheckpointError: glancer, focuser, preprocessing, data set, grid, patch size or the
                number of decisions differ; the message lists the differences.
        """
        here = bank_identity(recognizer, videos, positions=positions, patch_size=patch_size)
        there = {name: self.settings.get(name) for name in IDENTITY}
        here["decisions"] = videos.num_frames // recognizer.focus_group
        there["decisions"] = self.layout.num_frames
        found = differences(there, here)
        if found:
            raise CheckpointError(
                f"the feature bank in {self.folder} was made otherwise: {'; '.join(found)}. Use it "
                f"with what it was made of, or make another: {_command(self.folder)}, with another "
                "target="
            )

    def episode_seed(self, video: int, view: int) -> int:
        """Of the clip whose features these are."""
        return derive_episode_seed(int(self.settings["episode_seeds"]["seed"]), video, view)

    def view_of(self, episode_seed: int) -> int:
        """The view that an episode shows."""
        if self.layout.views == 1:
            return 0
        return int(episode_rng(episode_seed, Purpose.VIEW).integers(self.layout.views))

    def stored(self, device: torch.device, bank_device: str = "auto") -> StoredFeatures:
        """The features, to be gathered for a device.

        Args:
            device: where gathered features go.
            bank_device: `"cpu"` reads them from the files, through the page cache; `"cuda"` moves
                all of them to `device`; `"auto"` does that if `device` is a GPU and they take at
                most 60 % of its free memory.

        Raises:
            ValueError: unknown `bank_device`, or `"cuda"` without a GPU or with too small a one.
        """
        if bank_device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"bank_device is auto, cpu or cuda, not {bank_device!r}")
        if bank_device == "cpu" or (bank_device == "auto" and device.type != "cuda"):
            return StoredFeatures(self._mapped, device)
        if device in self._on_device:
            return self._on_device[device]
        if device.type != "cuda":
            raise ValueError(
                f"bank_device=cuda, but the recognizer is on {device}; use bank_device=auto"
            )
        needed, free = self.layout.num_bytes, torch.cuda.mem_get_info(device)[0]
        fits = needed <= _GPU_SHARE * free
        size = f"{self.folder} takes {needed / 1e9:.2f} GB, {device} has {free / 1e9:.2f} GB free"
        if bank_device == "cuda" and needed > free:
            raise ValueError(f"the feature bank {size}; use bank_device=auto or cpu")
        if not fits and bank_device == "auto":
            log.info("%s: features are read from the files", size)
            return StoredFeatures(self._mapped, device)
        log.info("%s: all features go there", size)
        whole = {name: [joined(parts, device)] for name, parts in self._mapped.items()}
        self._on_device[device] = StoredFeatures(whole, device)
        return self._on_device[device]


@closed
@dataclass(frozen=True)
class _PartFile:
    """`part.json`.

    Attributes:
        bank: folder of the whole bank, from the part's own.
        videos: of that one, in the part's order.
        dataset: the part's `dataset_identity`.
    """

    bank: str
    videos: tuple[Annotated[int, Field(ge=0)], ...]
    dataset: dict[str, Any]


class BankPart(FeatureBank):
    """Some videos of a bank as the bank of a split, such as a fold; no feature is copied.

    Args:
        folder: of the part.
        whole: the bank that has the features.
        videos: indices of the part's videos in that one, in the part's order.
        dataset: the part's `dataset_identity`.
    """

    def __init__(
        self, folder: Path, whole: FeatureBank, videos: Sequence[int], dataset: Mapping[str, Any]
    ):
        self.folder = folder
        self.settings = {**whole.settings, "dataset": dict(dataset)}
        self.layout = replace(whole.layout, num_videos=len(videos))
        self.positions, self.patch_size = whole.positions, whole.patch_size
        self._whole = whole
        self._videos = torch.tensor(list(videos), dtype=torch.int64)
        self.labels = whole.labels[self._videos]

    @classmethod
    def write(cls, folder: Path, whole: Path, videos: Sequence[int], part: Videos) -> None:
        """Write a bank that is a part of another; it names it by its place beside it.

        Args:
            folder: of the part; made if missing.
            whole: the finished bank's folder.
            videos: indices of the part's videos in that bank, in the part's order.
            part: these videos, prepared as the bank's were.

        Raises:
            ValueError: the part is prepared otherwise, or has other labels.
        """
        bank, identity = FeatureBank.open(whole), part.identity()
        found = differences(bank.settings["preprocessing"], identity["preprocessing"])
        if found:
            raise ValueError(f"{whole} holds videos that were prepared otherwise: {found}")
        if bank.labels[list(videos)].tolist() != part.labels.tolist():
            raise ValueError(f"{whole} holds other labels than the part {folder}")
        content = {
            "bank": os.path.relpath(whole, folder),
            "videos": [int(video) for video in videos],
            "dataset": identity["dataset"],
        }
        write_json(folder / PART_FILE, content)

    @classmethod
    def open(cls, folder: str | Path) -> BankPart:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: the whole bank is not where it was.
            CheckpointError: the file is damaged.
        """
        file = Path(folder) / PART_FILE
        told = read_checked(file, _PartFile, "write it anew: 'adafocus run' with its output_dir")
        whole = FeatureBank.open(file.parent / told.bank)
        beyond = [video for video in told.videos if video >= len(whole.labels)]
        if beyond:
            raise CheckpointError(
                f"{file} names video {beyond[0]} of a bank that has {len(whole.labels)}"
            )
        return cls(file.parent, whole, told.videos, told.dataset)

    def clips(self, videos: Tensor, views: Tensor) -> Tensor:
        """Where the whole bank has them."""
        return self._whole.clips(self._videos[videos], views)

    def episode_seed(self, video: int, view: int) -> int:
        """Of the clip whose features these are."""
        return self._whole.episode_seed(int(self._videos[video]), view)

    def stored(self, device: torch.device, bank_device: str = "auto") -> StoredFeatures:
        """Those of the whole bank, once for all of its parts."""
        return self._whole.stored(device, bank_device)


def open_bank(features: str, split: str) -> FeatureBank | None:
    """The bank that `features=` names.

    Args:
        features: `"live"`, which is none, or `"bank:PATH"` with a folder that holds one bank for
            each split.
        split: whose bank to open.

    Raises:
        ValueError: neither of the two.
        FileNotFoundError: there is no bank for this split.
    """
    if features == "live":
        return None
    kind, _, path = features.partition(":")
    if kind != "bank" or not path:
        raise ValueError(f"features is 'live' or 'bank:PATH', not {features!r}")
    return FeatureBank.open(Path(path) / split)


def _command(folder: Path) -> str:
    """The command that makes a bank."""
    return f"'adafocus bank split={folder.name} target={folder.parent} resume=RUN experiment=...'"
