"""Recognizer: the ActivityNet family's glancer, focuser and recurrent classifier, with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adafocus_env.networks.classifier import RecurrentClassifier
from adafocus_env.networks.focuser import Focuser
from adafocus_env.networks.glancer import Glancer
from adafocus_env.networks.recognizer_base import RecognizerBase, RecognizerSizes


@dataclass(frozen=True)
class RecognizerConfig(RecognizerSizes):
    """Everything but the weights: sizes, names of the networks, preprocessing.

    Defaults are the published ActivityNet family (REFERENCE sections 1A and 6).

    Attributes:
        hidden_dim: size of the classifier's state.
    """

    family: ClassVar[str] = "recurrent"

    hidden_dim: int = 1024


class Recognizer(RecognizerBase):
    """The three networks of AdaFocus, and how frames become their inputs.

    Frames are uint8 throughout; they are scaled and normalised here, on the networks' device.

    Args:
        config: sizes and names.
    """

    config_type: ClassVar[type[RecognizerSizes]] = RecognizerConfig
    config: RecognizerConfig
    classifier: RecurrentClassifier

    def __init__(self, config: RecognizerConfig):
        super().__init__()
        self.config = config
        self.glancer = Glancer(
            config.glancer, config.num_classes, activation_cap=config.activation_cap
        )
        self.focuser = Focuser(config.focuser, config.num_classes)
        self.classifier = RecurrentClassifier(
            self.glancer.num_channels + self.focuser.num_features,
            config.hidden_dim,
            config.num_classes,
            dropout=config.dropout,
        )
        self._prepare()

    def frames_mismatch(self, num_frames: int, num_glance_frames: int | None) -> str | None:
        """Why clips of these numbers of frames cannot be recognised, or None if they can."""
        if num_frames >= 1 and num_glance_frames is None:
            return None
        return (
            "this recognizer glances at the frames that it focuses on, but the videos give "
            f"{num_glance_frames} frames for glances alone; leave num_glance_frames=None"
        )

    def classify_step(self, features: Tensor, classifier_state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame, features `(N, C + F)`: logits `(N, K)` and the new state `(N, S)`."""
        return self.classifier.step(features, classifier_state)

    def classify_each(
        self, glance_vectors: Tensor, patch_vectors: Tensor, classifier_state: Tensor
    ) -> Tensor:
        """One frame under A patches, `(N, C)` and `(N, A, F)`: logits `(N, A, K)`."""
        return self.classifier.step_each(glance_vectors, patch_vectors, classifier_state)

    def clip_features(self, glance_vectors: Tensor, patch_vectors: Tensor) -> Tensor:
        """What the classifier is trained on: `(N, T, C)` and `(N, T, F)` to `(N, T, C + F)`."""
        return torch.cat([glance_vectors, patch_vectors], dim=2)

    def train_clips(self, features: Tensor) -> Tensor:
        """Predictions that are trained, from `clip_features`: `(N, T, K)`, after every frame."""
        return self.classify_sequence(features)[0]

    def classify_sequence(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whole clips, features `(N, T, C + F)`: logits `(N, T, K)`, states `(N, T, S)`."""
        return self.classifier.sequence(features)
