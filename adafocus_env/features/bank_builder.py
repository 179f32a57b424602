"""BankBuilder: all clips of a split through glancer and focuser, shard by shard, resumable."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

import adafocus_env
from adafocus_env.data.clips import Videos
from adafocus_env.features.bank_files import (
    BUILDING,
    MANIFEST_FILE,
    SETTINGS_FILE,
    BankLayout,
    Manifest,
    ShardRecord,
    bank_identity,
    is_intact,
    shard_file,
    write_shard,
)
from adafocus_env.features.live import LiveEpisodes, LiveFeatures
from adafocus_env.features.source import EpisodeStart
from adafocus_env.files import CheckpointError, differences, read_json, write_json
from adafocus_env.folders import make_folder
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.schema import read_checked
from adafocus_env.seeding import derive_episode_seed

log = logging.getLogger(__name__)

Progress = Callable[[int], None]

_CLIPS_AHEAD = 4  # that each worker may have loaded before they are needed


class BankBuilder:
    """Builds the bank of one split, alone or as one of several processes.

    One process calls `prepare`, then all call `build_shards`, then one calls `finish`. Features go
    through `LiveFeatures`, so that they are what live ones are.

    Args:
        folder: of the bank; made if missing.
        recognizer: is frozen; its device is used.
        videos: the split.
        positions: `(A, 2)` (top, left) pixels of the patches, in the order of the grid's actions.
        patch_size: side of the patches in pixels; None takes the recognizer's.
        views: K, clips of each video; more than one only where clips are drawn by chance.
        seed: of the clips.

    Attributes:
        layout: sizes.

    Raises:
        ValueError: recognizer and videos do not fit, or a bad argument.
    """

    def __init__(
        self,
        folder: str | Path,
        recognizer: AnyRecognizer,
        videos: Videos,
        *,
        positions: Tensor,
        patch_size: int | None = None,
        views: int = 1,
        seed: int = 0,
    ):
        if views < 1:
            raise ValueError(f"views must be at least 1, not {views}")
        source = LiveFeatures(recognizer, videos, patch_size=patch_size)
        self.folder = Path(folder)
        self.layout = BankLayout(
            len(videos),
            views,
            source.num_decisions,
            source.map_shape,
            len(positions),
            source.num_patch_features,
        )
        self._recognizer = recognizer
        self._videos = videos
        self._positions = positions
        self._patch_size = source.patch_size
        self._seed = seed
        self._settings = {
            **bank_identity(recognizer, videos, positions=positions, patch_size=source.patch_size),
            "views": views,
            "episode_seeds": {"rule": "derive_episode_seed(seed, video, view)", "seed": seed},
            "built_with": {
                "adafocus_env": adafocus_env.__version__,
                "torch": torch.__version__,
                "opencv": cv2.__version__,
                "pyav": version("av"),
                "device": source.device.type,
            },
        }

    def missing_bytes(self) -> int:
        """Bytes of the shards that are not there yet."""
        there = sum(
            len(self.layout.videos_of(shard))
            for shard in range(self.layout.num_shards)
            if shard_file(self.folder, shard).is_file()
        )
        return self.layout.num_bytes * (self.layout.num_videos - there) // self.layout.num_videos

    def prepare(self) -> None:
        """Begin, or go on where a process was killed. No other process may be building here.

        Raises:
            CheckpointError: the folder holds a bank that was made otherwise; the message lists the
                differences.
            ValueError: the folder holds other files, or the disk is too small.
        """
        building = self.folder / BUILDING
        if (self.folder / MANIFEST_FILE).is_file():
            there = Manifest.read(self.folder)
            self._check_same({**there.settings, "shard_videos": there.layout.shard_videos})
        elif (building / SETTINGS_FILE).is_file():
            self._check_same(read_json(building / SETTINGS_FILE, f"delete {self.folder}"))
        elif self.folder.exists() and any(map(_is_other, self.folder.iterdir())):
            raise ValueError(f"{self.folder} holds other files; name an empty folder for the bank")
        self._check_disk()
        make_folder(building)
        for place in (self.folder, building):
            for part in place.glob(".*.part"):  # of killed processes
                part.unlink()
        write_json(building / SETTINGS_FILE, self._described())

    def build_shards(
        self,
        *,
        rank: int = 0,
        count: int = 1,
        workers: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Build every `count`-th shard from `rank` on; intact ones are kept.

        Args:
            rank: 0-based number of this process.
            count: processes that build together.
            workers: processes that load clips for this one.
            progress: called with the number of clips done.

        Raises:
            FloatingPointError: a feature is not finite in float16; the message names the video.
            VideoError: a video cannot be read.
        """
        advance = progress or (lambda _: None)
        pending, records = [], self._records()
        for shard in range(rank, self.layout.num_shards, count):
            record = records[shard]
            if record is not None and is_intact(shard_file(self.folder, shard), record):
                advance(len(self.layout.videos_of(shard)) * self.layout.views)
            else:
                pending.append(shard)
        if not pending:
            return
        source = LiveFeatures(
            self._recognizer, self._videos, patch_size=self._patch_size, num_workers=workers
        )
        with closing(source):
            clips = self._load(source.open(1), pending, ahead=_CLIPS_AHEAD * workers)
            for shard in pending:
                arrays = self._shard_arrays(shard, clips, advance)
                record = write_shard(shard_file(self.folder, shard), arrays)
                write_json(self._record_file(shard), asdict(record))

    def finish(self) -> None:
        """Write the manifest, once all shards are there.

        Raises:
            RuntimeError: a shard is missing.
        """
        records = self._records()
        missing = [shard for shard, record in enumerate(records) if record is None]
        if missing:
            raise RuntimeError(f"{self.folder}: shards {missing} have not been built")
        shards = tuple(record for record in records if record is not None)
        Manifest(self._settings, self.layout, shards).write(self.folder)
        shutil.rmtree(self.folder / BUILDING)

    def _described(self) -> dict[str, Any]:
        return {**self._settings, "shard_videos": self.layout.shard_videos}

    def _check_same(self, there: dict[str, Any]) -> None:
        found = differences(there, self._described())
        if found:
            raise CheckpointError(
                f"{self.folder} holds a feature bank that was made otherwise ({'; '.join(found)}); "
                "give the same settings, another folder, or delete it"
            )

    def _check_disk(self) -> None:
        place = self.folder.absolute()
        while not place.exists():
            place = place.parent
        needed, free = self.missing_bytes(), shutil.disk_usage(place).free
        if needed > free:
            raise ValueError(
                f"the feature bank needs {needed / 1e6:,.1f} MB more but the disk of {place} has "
                f"{free / 1e6:,.1f} MB free; use another disk, fewer views or frames, or a smaller "
                "grid"
            )

    def _record_file(self, shard: int) -> Path:
        return self.folder / BUILDING / f"shard-{shard:05d}.json"

    def _records(self) -> list[ShardRecord | None]:
        """What is known of the shards that were finished once."""
        records: list[ShardRecord | None] = [None] * self.layout.num_shards
        if (self.folder / MANIFEST_FILE).is_file():
            records = list(Manifest.read(self.folder).shards)
        for shard in range(self.layout.num_shards):
            if self._record_file(shard).is_file():
                records[shard] = self._read_record(shard)
        return records

    def _read_record(self, shard: int) -> ShardRecord | None:
        """None where it is damaged: the shard is built again."""
        try:
            return read_checked(self._record_file(shard), ShardRecord, "it is built again")
        except CheckpointError as error:
            log.warning("%s", error)
            return None

    def _starts(self, shard: int) -> Iterator[EpisodeStart]:
        """The clips of a shard, in order."""
        for video in self.layout.videos_of(shard):
            for view in range(self.layout.views):
                yield EpisodeStart(video, derive_episode_seed(self._seed, video, view))

    def _load(
        self, clip: LiveEpisodes, shards: Sequence[int], *, ahead: int
    ) -> Iterator[tuple[EpisodeStart, LiveEpisodes]]:
        """All clips of some shards in the one row, while workers load those that follow."""
        starts = [start for shard in shards for start in self._starts(shard)]
        for position, start in enumerate(starts):
            clip.prefetch(starts[position : position + ahead])
            clip.load([0], [start])
            yield start, clip

    def _shard_arrays(
        self, shard: int, clips: Iterator[tuple[EpisodeStart, LiveEpisodes]], advance: Progress
    ) -> dict[str, Tensor]:
        layout = self.layout
        videos = layout.videos_of(shard)
        arrays = {
            name: torch.empty((len(videos) * layout.views, *shape), dtype=torch.float16)
            for name, shape in layout.clip_shapes.items()
        }
        for place in range(len(videos) * layout.views):
            start, clip = next(clips)
            for name, values in self._clip_arrays(clip).items():
                if not bool(values.isfinite().all()):
                    raise FloatingPointError(
                        f"{self._videos.video_name(start.video_index)} (video {start.video_index} "
                        f"of the split): {name} are not finite in float16; is the recognizer "
                        "trained, and the video what it should be?"
                    )
                arrays[name][place] = values
            advance(1)
        labels = torch.as_tensor(self._videos.labels[videos.start : videos.stop])
        return {**arrays, "labels": labels}

    def _clip_arrays(self, clip: LiveEpisodes) -> dict[str, Tensor]:
        """The features of the loaded clip in float16, by name."""
        steps = torch.arange(self.layout.num_frames)
        maps = clip.observation(torch.zeros_like(steps), steps)
        count = self.layout.num_positions
        patch_steps = steps.repeat_interleave(count)
        offsets = self._positions.repeat(len(steps), 1)
        vectors = clip.focus(torch.zeros_like(patch_steps), patch_steps, offsets)
        return {
            "glance_maps": _half_within(maps, float(self._recognizer.glancer.map_bound)),
            "glance_vectors": maps.mean(dim=(2, 3)).half(),
            "patch_vectors": vectors.unflatten(0, (-1, count)).half(),
        }


def _is_other(path: Path) -> bool:
    """Whether a file is no part of a bank; hidden ones are locks and what was being written."""
    return path.name != BUILDING and not path.name.startswith(".")


def _half_within(maps: Tensor, bound: float) -> Tensor:
    """Float16 that has not been rounded beyond the declared bound of observations."""
    limit = np.float16(bound)
    if float(limit) > bound:
        limit = np.nextafter(limit, np.float16(0))
    return maps.half().clamp(max=float(limit))
