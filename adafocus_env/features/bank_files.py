"""The files of a feature bank: shards of safetensors, and a manifest that is written last.

BANK/train/manifest.json            what the bank was made of; checksums of the shards
BANK/train/shard-00000.safetensors  features of some videos, all their views
BANK/train/building/                while it is built: settings, and what is finished
BANK/train/part.json                instead of all these: which videos of which other bank
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from adafocus_env.data.clips import Videos
from adafocus_env.files import (
    CheckpointError,
    atomic_path,
    read_json,
    regular,
    sha256_of,
    write_json,
)
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.schema import (
    Natural,
    Sha256,
    check_version,
    checked,
    closed,
    partial,
)
from adafocus_env.values import Frames, Side, Units

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
PART_FILE = "part.json"
BUILDING = "building"
SETTINGS_FILE = "settings.json"

# Beginnings of the names under which numbers lie in a manifest that say what a bank was made of,
# as opposed to how it was made. The classifier is not among them: it is used live.
IDENTITY = ("recognizer", "preprocessing", "dataset", "patch_size", "positions")

_SHARD_BYTES = 128 * 2**20
_MIN_SHARDS = 16  # so that processes can share small banks too


def bank_identity(
    recognizer: AnyRecognizer, videos: Videos, *, positions: Tensor, patch_size: int
) -> dict[str, Any]:
    """What stored features depend on, as nested mappings of JSON types.

    Of the recognizer only glancer and focuser: the classifier is used live, so a recognizer that
    stage 3 has trained further uses the same bank.
    """
    config = recognizer.config
    names = ("glancer", "focuser", "frame_size", "glance_size", "glance_resize", "activation_cap")
    return {
        "recognizer": {
            **{name: getattr(config, name) for name in names},
            "pixel_mean": list(config.pixel_mean),
            "pixel_std": list(config.pixel_std),
            "glancer_sha256": recognizer.glancer_fingerprint(),
            "focuser_sha256": recognizer.focuser_fingerprint(),
        },
        "patch_size": patch_size,
        "positions": {"count": len(positions), "offsets": positions.tolist()},
        **videos.identity(),
    }


@closed
@dataclass(frozen=True)
class BankLayout:
    """Sizes of a bank. A clip is one view of one video; its features are all in the same shard.

    Attributes:
        num_videos: V.
        views: K clips of each video, one after the other.
        num_frames: T.
        map_shape: `(C, h, w)` of a glance map.
        num_positions: A, patches of a frame.
        num_patch_features: F.
        shard_videos: videos in a shard; fewer in the last one.
    """

    num_videos: Natural
    views: Natural
    num_frames: Frames
    map_shape: tuple[Units, Units, Units]
    num_positions: Units
    num_patch_features: Units
    shard_videos: Annotated[int, Field(ge=0, le=2**31)] = 0

    def __post_init__(self) -> None:
        """Choose the size of the shards, which depends on nothing but the other sizes."""
        if not self.shard_videos:
            by_bytes = _SHARD_BYTES // (self.num_bytes // self.num_videos)
            chosen = max(1, min(by_bytes, -(-self.num_videos // _MIN_SHARDS)))
            object.__setattr__(self, "shard_videos", chosen)

    @property
    def clip_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one clip's arrays: `(T, ...)`."""
        frames = self.num_frames
        return {
            "glance_maps": (frames, *self.map_shape),
            "glance_vectors": (frames, self.map_shape[0]),
            "patch_vectors": (frames, self.num_positions, self.num_patch_features),
        }

    @property
    def num_bytes(self) -> int:
        """Of all features: V K T (C h w + C + A F) numbers of two bytes."""
        return 2 * self.num_videos * self.views * sum(map(prod, self.clip_shapes.values()))

    @property
    def num_shards(self) -> int:
        """How many files there are."""
        return -(-self.num_videos // self.shard_videos)

    def videos_of(self, shard: int) -> range:
        """The videos of a shard."""
        first = shard * self.shard_videos
        return range(first, min(first + self.shard_videos, self.num_videos))


@closed
@dataclass(frozen=True)
class ShardRecord:
    """A finished shard.

    Attributes:
        sha256: of the file.
        bytes: of the file.
    """

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


def shard_file(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{shard:05d}.safetensors"


def write_shard(path: Path, arrays: Mapping[str, Tensor]) -> ShardRecord:
    """Write the arrays of a shard; afterwards the file is there as a whole and on disk."""
    content = save({name: tensor.contiguous() for name, tensor in arrays.items()})
    with atomic_path(path) as part:
        part.write_bytes(content)
    return ShardRecord(hashlib.sha256(content).hexdigest(), len(content))


def open_shard(path: Path, layout: BankLayout, shard: int) -> dict[str, Tensor]:
    """The arrays of a shard, mapped into memory: what is not asked for is not read.

    Raises:
        CheckpointError: the file is damaged or has other arrays than the manifest says.
    """
    videos = len(layout.videos_of(shard))
    expected = {name: (videos * layout.views, *s) for name, s in layout.clip_shapes.items()}
    expected["labels"] = (videos,)
    try:
        with safe_open(regular(path), framework="pt") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_rebuild(path)}") from error
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    if shapes != expected:
        raise CheckpointError(f"{path} holds {shapes}, not {expected}; {_rebuild(path)}")
    return arrays


def is_intact(path: Path, record: ShardRecord) -> bool:
    """Whether a shard is there and has the recorded checksum."""
    if not path.is_file() or path.stat().st_size != record.bytes:
        return False
    return sha256_of(path) == record.sha256


@partial
@dataclass(frozen=True)
class _Written:
    settings: dict[str, Any]
    layout: BankLayout
    shards: tuple[ShardRecord, ...]


@partial
@dataclass(frozen=True)
class _Positions:
    count: Units
    offsets: tuple[tuple[int, int], ...]


@partial
@dataclass(frozen=True)
class _Seeds:
    seed: Annotated[int, Field(ge=0)]


@partial
@dataclass(frozen=True)
class _Settings:
    """Those that are not only compared."""

    recognizer: dict[str, Any]
    preprocessing: dict[str, Any]
    dataset: dict[str, Any]
    patch_size: Side
    positions: _Positions
    episode_seeds: _Seeds


@dataclass(frozen=True)
class Manifest:
    """What a bank says of itself.

    Attributes:
        settings: what it was made of, and how; nested mappings of JSON types.
        layout: its sizes.
        shards: the checksums, in order.
    """

    settings: dict[str, Any]
    layout: BankLayout
    shards: tuple[ShardRecord, ...]

    def write(self, folder: Path) -> None:
        """Write `manifest.json`."""
        description = {
            "format_version": FORMAT_VERSION,
            "dtype": "float16",
            "settings": self.settings,
            "preprocessing_id": _sha256(self.settings["preprocessing"]),
            "layout": asdict(self.layout),
            "clip_shapes": self.layout.clip_shapes,
            "shards": [asdict(record) for record in self.shards],
        }
        write_json(folder / MANIFEST_FILE, description)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `manifest.json`.

        Raises:
            CheckpointError: it belongs to another version, or is none.
        """
        path = folder / MANIFEST_FILE
        cure = f"make the bank again in another folder, or delete {folder}"
        values = read_json(path, cure)
        check_version(values, [FORMAT_VERSION], path, cure)
        written = checked(values, _Written, path, cure)
        settings = checked(written.settings, _Settings, path, cure)
        layout = written.layout
        listed = len(settings.positions.offsets), len(written.shards)
        if listed != (layout.num_positions, layout.num_shards):
            raise CheckpointError(
                f"{path}: its layout is of {layout.num_positions} positions and "
                f"{layout.num_shards} shards, but {listed[0]} and {listed[1]} are listed; {cure}"
            )
        return cls(written.settings, layout, written.shards)


def _sha256(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _rebuild(path: Path) -> str:
    return f"run the 'adafocus bank' command of {path.parent} again, which makes it anew"
