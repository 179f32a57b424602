"""ShiftRecognizer: the Something-Something family, whose networks see neighbouring frames."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor

from adafocus_env.networks.classifier import AveragingClassifier
from adafocus_env.networks.focuser import Focuser
from adafocus_env.networks.glancer import Glancer
from adafocus_env.networks.recognizer_base import RecognizerBase, RecognizerSizes
from adafocus_env.networks.temporal_shift import set_clip_length


@dataclass(frozen=True)
class ShiftRecognizerConfig(RecognizerSizes):
    """Everything but the weights: sizes, names of the networks, preprocessing.

    Defaults are the published Something-Something family (REFERENCE section 1S).

    Attributes:
        num_glance_frames: frames of a clip that are glanced at.
        video_div: D, divisions of a clip; one decision serves all frames of a division.
        temporal_shift: whether frames exchange channels; False sees each by itself, for comparison.
    """

    family: ClassVar[str] = "temporal_shift"
    glance_entries: ClassVar[tuple[str, ...]] = (
        *RecognizerSizes.glance_entries,
        *("num_glance_frames", "temporal_shift"),
    )
    focus_entries: ClassVar[tuple[str, ...]] = (
        *RecognizerSizes.focus_entries,
        *("num_frames", "video_div", "temporal_shift"),
    )

    num_frames: int = 12
    patch_size: int = 144
    num_glance_frames: int = 8
    video_div: int = 1
    temporal_shift: bool = True

    def __post_init__(self) -> None:
        """Check what later errors would explain badly."""
        super().__post_init__()
        for name in ("num_frames", "num_glance_frames"):
            count = getattr(self, name)
            if self.video_div < 1 or count % self.video_div:
                raise ValueError(
                    f"video_div={self.video_div} does not divide {name}={count}; use one that "
                    "divides both, such as 1"
                )

    @property
    def focus_frames(self) -> int:
        """Frames of one division that patches are cut from."""
        return self.num_frames // self.video_div

    @property
    def glance_frames(self) -> int:
        """Frames of one division that are glanced at."""
        return self.num_glance_frames // self.video_div


class ShiftRecognizer(RecognizerBase):
    """Glancer and focuser with temporal shift, and logits that are averaged over frames.

    The glancer connects all its frames of a clip. The focuser connects the frames of one division
    and no others, so what a patch shows depends on its own division alone. Logits are the mean over
    the patches seen so far plus the mean of the glancer's own over all its frames.

    Args:
        config: sizes and names.
    """

    config_type: ClassVar[type[RecognizerSizes]] = ShiftRecognizerConfig
    config: ShiftRecognizerConfig
    classifier: AveragingClassifier

    def __init__(self, config: ShiftRecognizerConfig):
        super().__init__()
        self.config = config
        shift = config.temporal_shift
        self.glancer = Glancer(
            config.glancer,
            config.num_classes,
            activation_cap=config.activation_cap,
            shift_frames=config.num_glance_frames if shift else None,
        )
        self.focuser = Focuser(
            config.focuser, config.num_classes, shift_frames=config.focus_frames if shift else None
        )
        self.classifier = AveragingClassifier(
            self.focuser.num_features, config.num_classes, dropout=config.dropout
        )
        self._set_groups()
        self._prepare()

    def _set_groups(self) -> None:
        self.glance_group = self.config.num_glance_frames
        self.focus_group = self.config.focus_frames
        self.glances_per_decision = self.config.glance_frames

    def divided(self, video_div: int) -> ShiftRecognizer:
        """The same networks and weights, not copied, with another number of divisions.

        Raises:
            ValueError: frames cannot be divided so.
        """
        if video_div == self.config.video_div:
            return self
        config = replace(self.config, video_div=video_div)
        other = copy.deepcopy(self, {id(tensor): tensor for tensor in self._tensors()})
        other.config = config
        set_clip_length(other.focuser, config.focus_frames)
        other._set_groups()
        return other

    def frames_mismatch(self, num_frames: int, num_glance_frames: int | None) -> str | None:
        """Why clips of these numbers of frames cannot be recognised, or None if they can."""
        config = self.config
        known = (config.num_frames, config.num_glance_frames)
        glances = num_frames if num_glance_frames is None else num_glance_frames
        if (num_frames, glances) == known:
            return None
        return (
            f"this recognizer's temporal shift is over clips of {known[0]} frames and {known[1]} "
            f"glances, but the videos give {num_frames} and {glances}; open them with "
            f"num_frames={known[0]} and num_glance_frames={known[1]}"
        )

    def _tensors(self) -> Iterator[Tensor]:
        return chain(self.parameters(), self.buffers())

    def glance_logits(self, glance_vectors: Tensor) -> Tensor:
        """The glancer's own logits of whole clips, `(N, frames, C)`: `(N, K)`, their mean."""
        logits: Tensor = self.glancer.class_head()(glance_vectors)
        return logits.mean(dim=1)

    def classify_step(
        self, patch_vectors: Tensor, glance_logits: Tensor, steps: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision.

        Args:
            patch_vectors: `(N, F)`, means over the patches of the division.
            glance_logits: `(N, K)`, of the whole clip.
            steps: `(N,)` decisions taken before.
            state: `(N, F)`; zeros at the start of an episode.

        Returns:
            logits `(N, K)`, new state `(N, F)`.
        """
        after = state + patch_vectors
        return self.classifier.after(after, (steps + 1)[:, None]) + glance_logits, after

    def classify_each(
        self, patch_vectors: Tensor, glance_logits: Tensor, steps: Tensor, state: Tensor
    ) -> Tensor:
        """One decision under A alternatives, `(N, A, F)`: logits `(N, A, K)`."""
        after = state[:, None] + patch_vectors
        logits = self.classifier.after(after, (steps + 1)[:, None, None])
        return logits + glance_logits[:, None]

    def classify_sequence(
        self, patch_vectors: Tensor, glance_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All decisions of clips, `(N, D, F)`: logits `(N, D, K)`, states `(N, D, F)`."""
        states = patch_vectors.cumsum(dim=1)
        count = torch.arange(1, states.shape[1] + 1, device=states.device)
        return self.classifier.after(states, count[:, None]) + glance_logits[:, None], states

    def classify_clip(self, patch_vectors: Tensor, glance_vectors: Tensor) -> Tensor:
        """Whole clips frame by frame, as they are trained: dropout acts on each patch vector.

        Args:
            patch_vectors: `(N, T, F)`, one a patch.
            glance_vectors: `(N, frames, C)`, one a glance.

        Returns:
            logits `(N, K)`; in evaluation mode the last ones of `classify_sequence`.
        """
        logits: Tensor = self.classifier(patch_vectors)
        return logits + self.glance_logits(glance_vectors)
