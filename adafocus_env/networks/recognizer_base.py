"""What the recognizers of both families share: sizes, inputs, glances, files, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from adafocus_env.files import atomic_path, read_json, write_json
from adafocus_env.networks.focuser import Focuser
from adafocus_env.networks.glancer import Glancer

WEIGHTS_FILE = "recognizer.safetensors"
CONFIG_FILE = "recognizer.json"
FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A saved network cannot be used; the message names the file and the reason."""


Sizes = TypeVar("Sizes", bound="RecognizerSizes")


@dataclass(frozen=True)
class RecognizerSizes:
    """What the configurations of both families have: everything but the weights.

    Attributes:
        class_names: K names of the actions.
        num_frames: T, frames of a clip that patches are cut from.
        frame_size: side of the frames in pixels.
        patch_size: P, side of a patch in pixels.
        glance_size: side of the glancer's input in pixels.
        glance_resize: how frames become that size, `"nearest"` (published) or `"area"`.
        glancer: backbone of the glancer.
        focuser: backbone of the focuser.
        dropout: before the classifier's last layer, while training.
        activation_cap: bound of the glance map, for a glancer that has none of its own.
        pixel_mean: RGB mean of frames in [0, 1] (ImageNet's).
        pixel_std: RGB standard deviation of frames in [0, 1] (ImageNet's).
    """

    # The family's name in files, and what decides glance maps and patch vectors beside weights.
    family: ClassVar[str]
    glance_entries: ClassVar[tuple[str, ...]] = (
        *("glancer", "frame_size", "glance_size", "glance_resize", "activation_cap"),
        *("pixel_mean", "pixel_std"),
    )
    focus_entries: ClassVar[tuple[str, ...]] = ("focuser", "pixel_mean", "pixel_std")

    class_names: tuple[str, ...]
    num_frames: int = 16
    frame_size: int = 224
    patch_size: int = 128
    glance_size: int = 224
    glance_resize: str = "nearest"
    glancer: str = "mobilenet_v2"
    focuser: str = "resnet50"
    dropout: float = 0.5
    activation_cap: float | None = None
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Check what later errors would explain badly."""
        if self.glance_resize not in ("nearest", "area"):
            raise ValueError(f"glance_resize is 'nearest' or 'area', not {self.glance_resize!r}")
        if not 0 < self.patch_size <= self.frame_size:
            raise ValueError(
                f"patch_size {self.patch_size} must be between 1 and frame_size {self.frame_size}"
            )
        for name in ("pixel_mean", "pixel_std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(
                    f"{name} needs three entries, one a colour, got {getattr(self, name)}"
                )
        if self.activation_cap is not None and self.activation_cap <= 0:
            raise ValueError(f"activation_cap must be above 0, not {self.activation_cap}")
        if not self.class_names:
            raise ValueError("a recognizer needs at least one class")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @classmethod
    def from_json(cls: type[Sizes], values: Mapping[str, Any]) -> Sizes:
        """Rebuild from `asdict` written as JSON.

        Raises:
            ValueError: unknown or missing entries.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown or "class_names" not in values:
            raise ValueError(f"unknown entries {unknown}" if unknown else "no class_names")
        tuples = ("class_names", "pixel_mean", "pixel_std")
        arguments: dict[str, Any] = dict(values)
        arguments.update({name: tuple(values[name]) for name in tuples if name in values})
        return cls(**arguments)


def placeholder_class_names(num_classes: int) -> tuple[str, ...]:
    """Names for a recognizer whose class file was not at hand; they fit any K classes."""
    return tuple(f"unnamed class {k}" for k in range(num_classes))


def has_placeholder_names(config: RecognizerSizes) -> bool:
    """Whether the class names are those of `placeholder_class_names`."""
    return config.class_names == placeholder_class_names(config.num_classes)


def class_mismatch(config: RecognizerSizes, class_names: Sequence[str]) -> str | None:
    """Why a recognizer cannot name the classes of some videos, or None if it can.

    Args:
        config: of the recognizer; with placeholder names only the number of classes counts.
        class_names: of the videos.
    """
    cure = "use a recognizer trained on these videos' class file"
    if config.num_classes != len(class_names):
        return (
            f"the recognizer knows {config.num_classes} classes but the videos have "
            f"{len(class_names)}; {cure}"
        )
    if has_placeholder_names(config):
        return None
    for k, (known, given) in enumerate(zip(config.class_names, class_names, strict=True)):
        if known != given:
            return (
                f"class {k} is {known!r} to the recognizer but {given!r} in the videos' class "
                f"file (class file of another dataset?); {cure}"
            )
    return None


Built = TypeVar("Built", bound="RecognizerBase")


class RecognizerBase(nn.Module):
    """Glancer, focuser and a classifier, and how frames become their inputs.

    Frames are uint8 throughout; they are scaled and normalised here, on the networks' device.

    Attributes:
        glance_group: frames that the glancer must see together, one after the other.
        focus_group: patches that the focuser must see together: those of one decision, which lie at
            the same place.
        glances_per_decision: glances that make the observation of one decision.
        head_dropout: before the last layer of a backbone while stage 0 trains it; None leaves
            torchvision's own heads as they are.
    """

    config: RecognizerSizes
    glancer: Glancer
    focuser: Focuser
    config_type: ClassVar[type[RecognizerSizes]]
    glance_group: int = 1
    focus_group: int = 1
    glances_per_decision: int = 1
    head_dropout: float | None = None
    pixel_mean: Tensor
    pixel_std: Tensor

    def _prepare(self) -> None:
        """What follows the making of the networks."""
        config = self.config
        # Convolutions run 1.3 to 2 times faster on CPUs in this layout, and no slower on GPUs.
        self.to(memory_format=torch.channels_last)
        shape = (1, 3, 1, 1)
        self.register_buffer(
            "pixel_mean", torch.tensor(config.pixel_mean).view(shape), persistent=False
        )
        self.register_buffer(
            "pixel_std", torch.tensor(config.pixel_std).view(shape), persistent=False
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device

    def normalize(self, frames: Tensor) -> Tensor:
        """Frames or patches `(N, 3, H, W)` in 0..255 to normalised float32."""
        return (frames.float() / 255.0 - self.pixel_mean) / self.pixel_std

    def resize_for_glance(self, frames: Tensor) -> Tensor:
        """Frames `(N, 3, H, W)` at the glancer's size: themselves, not copied, if they have it."""
        size = self.config.glance_size
        if frames.shape[-2:] == (size, size):
            return frames
        return F.interpolate(frames.float(), (size, size), mode=self.config.glance_resize)

    def glance_input(self, frames: Tensor) -> Tensor:
        """Normalised float32 frames at the glancer's size.

        Resizing comes first: it is linear, so the order does not matter, and there are fewer pixels
        to normalise afterwards.

        Args:
            frames: uint8 `(N, 3, H, W)`.
        """
        return self.normalize(self.resize_for_glance(frames))

    def glance(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Look at whole frames.

        Args:
            frames: uint8 `(N, 3, H, W)`.

        Returns:
            glance map `(N, C, h, w)`, glance vector `(N, C)`.
        """
        return self.glancer.glance(self.glance_input(frames))

    def focus(self, patches: Tensor) -> Tensor:
        """Look at patches, uint8 `(N, 3, P, P)`; returns patch vectors `(N, F)`."""
        return self.focuser.focus(self.normalize(patches))

    def map_shape(self) -> tuple[int, int, int]:
        """`(C, h, w)` of the glance map, found by looking at black frames."""
        training = self.glancer.training
        self.glancer.eval()
        with torch.no_grad():
            size = self.config.frame_size
            black = torch.zeros(
                self.glance_group, 3, size, size, dtype=torch.uint8, device=self.device
            )
            shape = self.glance(black)[0].shape
        self.glancer.train(training)
        return int(shape[1]), int(shape[2]), int(shape[3])

    def observation_shape(self) -> tuple[int, int, int]:
        """`(C, h, w)` of an observation: the glance maps of a decision, one after the other."""
        channels, height, width = self.map_shape()
        return channels * self.glances_per_decision, height, width

    def save(self, folder: str | Path) -> None:
        """Write `recognizer.safetensors` and `recognizer.json` into a folder, made if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        family = {"format_version": FORMAT_VERSION, "family": self.config.family}
        description = {**family, **asdict(self.config)}
        with atomic_path(folder / WEIGHTS_FILE) as part:
            part.write_bytes(save(weights))  # not save_file, which makes files private
        write_json(folder / CONFIG_FILE, description)

    @classmethod
    def load(cls: type[Built], folder: str | Path, *, device: str | torch.device = "cpu") -> Built:
        """Read what `save` wrote; nothing in the files is executed.

        Raises:
            FileNotFoundError: a file is missing.
            CheckpointError: the files do not fit each other, this version or this family.
        """
        folder = Path(folder)
        description = read_description(folder)
        weights_file, config_file = folder / WEIGHTS_FILE, folder / CONFIG_FILE
        try:
            family = description.pop("family")
            if family != cls.config_type.family:
                raise ValueError(
                    f"a recognizer of the family {family}, where one of the family "
                    f"{cls.config_type.family} is needed"
                )
            config = cls.config_type.from_json(description)
            # The first weights are overwritten; nobody else's random numbers change for them.
            with torch.random.fork_rng(devices=[]):
                recognizer = cls(config)
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{config_file}: {error}") from error
        try:
            recognizer.load_state_dict(load_file(weights_file))
        except (RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                f"{weights_file} does not fit {config_file.name}: {error}"
            ) from error
        return recognizer.to(device)

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and every weight: equal only for equal simulators."""
        return _sha256(asdict(self.config), self.state_dict())

    def glancer_fingerprint(self) -> str:
        """SHA-256 over what decides glance maps: stage 3, which trains the classifier, keeps it."""
        values = asdict(self.config)
        return _sha256(
            {name: values[name] for name in self.config.glance_entries}, self.glancer.state_dict()
        )

    def focuser_fingerprint(self) -> str:
        """SHA-256 over what decides patch vectors, whatever the size of the patches."""
        values = asdict(self.config)
        return _sha256(
            {name: values[name] for name in self.config.focus_entries}, self.focuser.state_dict()
        )


def read_description(folder: Path) -> dict[str, Any]:
    """The entries of a saved recognizer's configuration, with its `family`.

    Raises:
        FileNotFoundError: a file of the recognizer is missing.
        CheckpointError: the configuration cannot be read, or is of another version.
    """
    config_file = folder / CONFIG_FILE
    for file in (config_file, folder / WEIGHTS_FILE):
        if not file.is_file():
            raise FileNotFoundError(
                f"no recognizer in {folder}: {file.name} is missing; 'adafocus stage1' makes one"
            )
    try:
        description = read_json(config_file)
        version = description.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version is {version}, this package reads {FORMAT_VERSION}")
    except ValueError as error:
        raise CheckpointError(f"{config_file}: {error}") from error
    # The first recognizers were all of one family and did not say which.
    return {"family": "recurrent", **description}


def _sha256(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
