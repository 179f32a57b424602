"""Recognizer: the ActivityNet family's glancer, focuser and classifier, with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adafocus_env.networks.classifier import MeanClassifier, RecurrentClassifier
from adafocus_env.networks.focuser import Focuser
from adafocus_env.networks.glancer import Glancer
from adafocus_env.networks.recognizer_base import RecognizerBase
from adafocus_env.networks.recognizer_config import RecognizerSizes
from adafocus_env.values import Units

CLASSIFIERS: dict[str, type[RecurrentClassifier | MeanClassifier]] = {
    "gru": RecurrentClassifier,
    "mean": MeanClassifier,
}


@dataclass(frozen=True)
class RecognizerConfig(RecognizerSizes):
    """Everything but the weights: sizes, names of the networks, preprocessing.

    Defaults are the published ActivityNet family (`adafocus_env/PUBLISHED.md`, Networks).

    Attributes:
        hidden_dim: size of the classifier's state, or of its hidden layer.
        classifier: `"gru"` (published), or `"mean"`: see `MeanClassifier`.
    """

    family: ClassVar[str] = "recurrent"

    hidden_dim: Units = 1024
    classifier: str = "gru"

    def __post_init__(self) -> None:
        """Check what later errors would explain badly."""
        super().__post_init__()
        if self.classifier not in CLASSIFIERS:
            known = ", ".join(CLASSIFIERS)
            raise ValueError(f"unknown classifier {self.classifier!r}; known are {known}")


class Recognizer(RecognizerBase):
    """The three networks of AdaFocus: every frame is a decision; a classifier reads them in turn.

    Args:
        config: sizes and names.
    """

    config_type: ClassVar[type[RecognizerSizes]] = RecognizerConfig
    config: RecognizerConfig
    classifier: RecurrentClassifier | MeanClassifier

    def __init__(self, config: RecognizerConfig):
        super().__init__()
        self.config = config
        self.glancer = Glancer(
            config.glancer, config.num_classes, activation_cap=config.activation_cap
        )
        self.focuser = Focuser(config.focuser, config.num_classes)
        self.classifier = CLASSIFIERS[config.classifier](
            self.glancer.num_channels + self.focuser.num_features,
            config.hidden_dim,
            config.num_classes,
            dropout=config.dropout,
        )
        mean = isinstance(self.classifier, MeanClassifier)
        self.state_size = config.num_classes + 1 if mean else config.hidden_dim
        self._prepare()

    def frames_mismatch(self, num_frames: int, num_glance_frames: int | None) -> str | None:
        """Why clips of these numbers of frames cannot be recognised, or None if they can."""
        if num_frames >= 1 and num_glance_frames is None:
            return None
        return (
            "this recognizer glances at the frames that it focuses on, but the videos give "
            f"{num_glance_frames} frames for glances alone; leave num_glance_frames=None"
        )

    def glance_context(self, glance_vectors: Tensor) -> Tensor:
        """The glance vectors themselves."""
        return glance_vectors

    def classify_step(
        self, context: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One frame."""
        return self.classifier.step(torch.cat([context, patch_vectors], dim=1), state)

    def classify_each(self, context: Tensor, patch_vectors: Tensor, state: Tensor) -> Tensor:
        """One frame under several patches."""
        return self.classifier.step_each(context, patch_vectors, state)

    def classify_sequence(self, context: Tensor, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All frames of clips."""
        return self.classifier.sequence(torch.cat([context, patch_vectors], dim=2))

    def clip_features(self, glance_vectors: Tensor, patch_vectors: Tensor) -> Tensor:
        """Glance and patch of every frame side by side, `(N, T, C + F)`."""
        return torch.cat([glance_vectors, patch_vectors], dim=2)

    def train_clips(self, features: Tensor) -> Tensor:
        """Logits `(N, T, K)` after every frame."""
        return self.classifier.sequence(features)[0]
