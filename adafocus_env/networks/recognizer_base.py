"""RecognizerBase: what environments, agents and stages ask of the recognizers of both families."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from adafocus_env.files import CheckpointError, atomic_path, check_part, read_json, write_json
from adafocus_env.folders import make_folder
from adafocus_env.networks.focuser import Focuser
from adafocus_env.networks.glancer import Glancer
from adafocus_env.networks.recognizer_config import RecognizerSizes
from adafocus_env.networks.weights import read_weights
from adafocus_env.schema import check_version, checked, partial

WEIGHTS_FILE = "recognizer.safetensors"
CONFIG_FILE = "recognizer.json"
FORMAT_VERSION = 1
_CURE = "use an undamaged copy, or make the recognizer again"


@partial
@dataclass(frozen=True)
class _Header:
    family: str = "recurrent"  # the first recognizers did not say


Built = TypeVar("Built", bound="RecognizerBase")


class RecognizerBase(nn.Module, ABC):
    """Glancer, focuser and a classifier, and how frames become their inputs.

    Frames are uint8 throughout; they are scaled and normalised here, on the networks' device. The
    classifier's state is an argument and a result, `(N, S)`, zeros at the start of an episode. What
    it reads of the glances, the context, is there for whole clips before any patch is.

    Attributes:
        state_size: S.
        num_glance_frames: frames of a clip for the glancer alone; None: it sees those that patches
            are cut from.
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
    state_size: int
    num_glance_frames: int | None = None
    glance_group: int = 1
    focus_group: int = 1
    glances_per_decision: int = 1
    head_dropout: float | None = None
    pixel_mean: Tensor
    pixel_std: Tensor

    def _prepare(self) -> None:
        """What follows the making of the networks, and the reading of their weights."""
        # Convolutions run 1.3 to 2 times faster on CPUs in this layout, and no slower on GPUs.
        self.to(memory_format=torch.channels_last)
        for name in ("pixel_mean", "pixel_std"):
            values = torch.tensor(getattr(self.config, name)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    @abstractmethod
    def frames_mismatch(self, num_frames: int, num_glance_frames: int | None) -> str | None:
        """Why clips of these numbers of frames cannot be recognised, or None if they can."""

    def divided(self: Built, video_div: int | None) -> Built:
        """The same weights, shared, with another number of decisions a clip; None leaves its own.

        Raises:
            ValueError: the family has a decision for every frame, or the frames cannot be divided
                so.
        """
        if video_div is None:
            return self
        raise ValueError(
            "this recognizer has a decision for every frame, and video_div is for those with "
            "temporal shift; leave video_div=None"
        )

    @abstractmethod
    def glance_context(self, glance_vectors: Tensor) -> Tensor:
        """What the classifier reads of clips' glances, `(N, T, X)`, from `(N, T, C)`."""

    @abstractmethod
    def classify_step(
        self, context: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision.

        Args:
            context: `(N, X)`, of the decision.
            patch_vectors: `(N, F)`.
            state: `(N, S)`.

        Returns:
            logits `(N, K)`, new states `(N, S)`.
        """

    @abstractmethod
    def classify_each(self, context: Tensor, patch_vectors: Tensor, state: Tensor) -> Tensor:
        """Logits `(N, A, K)` of one decision under A patches, `(N, A, F)`, each by itself."""

    @abstractmethod
    def classify_sequence(self, context: Tensor, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips, `(N, T, X)` and `(N, T, F)`: logits `(N, T, K)`, states `(N, T, S)`."""

    @abstractmethod
    def clip_features(self, glance_vectors: Tensor, patch_vectors: Tensor) -> Tensor:
        """What the classifier is trained on, `(N, T, Y)`, for `train_clips`.

        Args:
            glance_vectors: `(N, T', C)`, one a glance.
            patch_vectors: `(N, T, F)`, one a patch.
        """

    @abstractmethod
    def train_clips(self, features: Tensor) -> Tensor:
        """Predictions that are trained: `(N, T, K)` after every frame, or `(N, 1, K)` of clips."""

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
        make_folder(folder)
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        family = {"format_version": FORMAT_VERSION, "family": self.config.family}
        description = {**family, **self.config.described()}
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
        config_file = folder / CONFIG_FILE
        family = description.pop("family")
        if family != cls.config_type.family:
            raise CheckpointError(
                f"{config_file}: a recognizer of the family {family}, where one of the family "
                f"{cls.config_type.family} is needed"
            )
        config = checked(description, cls.config_type, config_file, _CURE)
        try:
            with torch.device("meta"):  # no memory before the sizes are known to fit the weights
                recognizer = cls(config)
        except ValueError as error:
            raise CheckpointError(f"{config_file}: {error}") from error
        expected = recognizer.state_dict()
        weights = read_weights(folder / WEIGHTS_FILE, expected)
        # Copies: what is read lies in the file as long as nobody changes it.
        own = {name: weights[name].to(like.dtype, copy=True) for name, like in expected.items()}
        recognizer.load_state_dict(own, assign=True)
        recognizer._prepare()
        return recognizer.to(device)

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and every weight: equal only for equal simulators."""
        return _sha256(self.config.described(), self.state_dict())

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
    check_part(folder, "recognizer", (CONFIG_FILE, WEIGHTS_FILE), "adafocus stage1")
    description = read_json(config_file, _CURE)
    check_version(description, [FORMAT_VERSION], config_file, _CURE)
    family = checked(description, _Header, config_file, _CURE).family
    del description["format_version"]
    return {**description, "family": family}


def _sha256(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
