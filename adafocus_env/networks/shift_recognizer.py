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
from adafocus_env.networks.recognizer_base import RecognizerBase
from adafocus_env.networks.recognizer_config import RecognizerSizes
from adafocus_env.networks.temporal_shift import set_clip_length
from adafocus_env.values import Frames, Side


@dataclass(frozen=True)
class ShiftRecognizerConfig(RecognizerSizes):
    """Everything but the weights: sizes, names of the networks, preprocessing.

    Defaults are the published Something-Something family (`adafocus_env/PUBLISHED.md`, Networks).

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

    num_frames: Frames = 12
    patch_size: Side = 144
    num_glance_frames: Frames = 8
    video_div: Frames = 1
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
        self.state_size = self.focuser.num_features + 1
        self.num_glance_frames = self.glance_group = config.num_glance_frames
        self.head_dropout = config.dropout
        self._set_groups()
        self._prepare()

    def _set_groups(self) -> None:
        self.focus_group = self.config.focus_frames
        self.glances_per_decision = self.config.glance_frames

    def divided(self, video_div: int | None) -> ShiftRecognizer:
        """The same networks and weights, not copied, with another number of divisions."""
        if video_div in (None, self.config.video_div):
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

    def glance_context(self, glance_vectors: Tensor) -> Tensor:
        """The glancer's own logits of the clip, the same for every decision."""
        # The vectors of a decision's glances lie side by side.
        each = glance_vectors.reshape(len(glance_vectors), -1, self.glancer.num_channels)
        return self.glance_logits(each)[:, None].expand(-1, glance_vectors.shape[1], -1)

    def classify_step(
        self, context: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision; the state is the sum of the patch vectors so far, and how many they are."""
        total, count = state[:, :-1] + patch_vectors, state[:, -1:] + 1
        return self.classifier.after(total, count) + context, torch.cat([total, count], dim=1)

    def classify_each(self, context: Tensor, patch_vectors: Tensor, state: Tensor) -> Tensor:
        """One decision under several patches."""
        total, count = state[:, None, :-1] + patch_vectors, state[:, None, -1:] + 1
        return self.classifier.after(total, count) + context[:, None]

    def classify_sequence(self, context: Tensor, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All decisions of clips."""
        total = patch_vectors.cumsum(dim=1)
        count = torch.arange(1, total.shape[1] + 1, dtype=total.dtype, device=total.device)
        count = count[:, None].expand(len(total), -1, -1)
        return self.classifier.after(total, count) + context, torch.cat([total, count], dim=2)

    def clip_features(self, glance_vectors: Tensor, patch_vectors: Tensor) -> Tensor:
        """`(N, T, F + K)`: each patch vector, and T times the glancer's own logits of the clip."""
        logits = self.glance_logits(glance_vectors)
        return torch.cat(
            [patch_vectors, logits[:, None].expand(-1, patch_vectors.shape[1], -1)], dim=2
        )

    def train_clips(self, features: Tensor) -> Tensor:
        """Logits `(N, 1, K)` of clips; dropout, while training, acts on each patch vector."""
        count = self.focuser.num_features
        logits: Tensor = self.classifier(features[..., :count])
        return (logits + features[:, 0, count:])[:, None]
