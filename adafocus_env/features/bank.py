"""FeatureBank: what frozen networks make of a split, computed once and kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from adafocus_env.data.clips import Videos
from adafocus_env.features.bank_files import (
    IDENTITY,
    MANIFEST_FILE,
    Manifest,
    bank_identity,
    open_shard,
    shard_file,
)
from adafocus_env.features.stored_features import StoredFeatures, joined
from adafocus_env.files import CheckpointError, differences
from adafocus_env.networks.loading import AnyRecognizer
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

    @classmethod
    def open(cls, folder: str | Path) -> FeatureBank:
        """Open a finished bank; features are mapped into memory, not read.

        Raises:
            FileNotFoundError: there is none.
            CheckpointError: a file is damaged or missing.
        """
        folder = Path(folder)
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
