"""The classifiers of both families behind one interface: glances, patches, state in; logits out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.networks.recurrent_recognizer import Recognizer
from adafocus_env.networks.shift_recognizer import ShiftRecognizer


class ClipClassifier(Protocol):
    """What episodes ask of a recognizer's classifier.

    Attributes:
        state_size: S.
    """

    state_size: int

    def context(self, glance_vectors: Tensor) -> Tensor:
        """What logits need of the glances, `(N, T, X)`, from their vectors `(N, T, C)`."""
        ...

    def step(
        self, context: Tensor, patch_vectors: Tensor, steps: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decision.

        Args:
            context: `(M, X)`, of the decision.
            patch_vectors: `(M, F)`.
            steps: `(M,)` decisions before it.
            state: `(M, S)`; zeros before the first.

        Returns:
            logits `(M, K)`, new states `(M, S)`.
        """
        ...

    def each(self, context: Tensor, patch_vectors: Tensor, steps: Tensor, state: Tensor) -> Tensor:
        """Logits `(M, A, K)` of one decision under A patches, `(M, A, F)`, each by itself."""
        ...

    def sequence(self, context: Tensor, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """All decisions, `(N, T, X)` and `(N, T, F)`: logits `(N, T, K)`, states `(N, T, S)`."""
        ...


def clip_classifier(recognizer: AnyRecognizer) -> ClipClassifier:
    """The classifier of a recognizer, as it is now and as it will be changed."""
    if isinstance(recognizer, ShiftRecognizer):
        return _Averaging(recognizer)
    return _Recurrent(recognizer)


class _Recurrent:
    """A GRU over glance and patch of every frame; the context is the frame's glance vector."""

    def __init__(self, recognizer: Recognizer):
        self._recognizer = recognizer
        self.state_size = recognizer.config.hidden_dim

    def context(self, glance_vectors: Tensor) -> Tensor:
        return glance_vectors

    def step(
        self, context: Tensor, patch_vectors: Tensor, steps: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        del steps  # the state knows
        return self._recognizer.classify_step(torch.cat([context, patch_vectors], dim=1), state)

    def each(self, context: Tensor, patch_vectors: Tensor, steps: Tensor, state: Tensor) -> Tensor:
        del steps
        return self._recognizer.classify_each(context, patch_vectors, state)

    def sequence(self, context: Tensor, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.cat([context, patch_vectors], dim=2)
        return self._recognizer.classify_sequence(features)


class _Averaging:
    """Means over frames; the context is the glancer's own logits, the same for every decision."""

    def __init__(self, recognizer: ShiftRecognizer):
        self._recognizer = recognizer
        self.state_size = recognizer.focuser.num_features

    def context(self, glance_vectors: Tensor) -> Tensor:
        # A decision's vectors lie side by side.
        channels = self._recognizer.glancer.num_channels
        each = glance_vectors.reshape(len(glance_vectors), -1, channels)
        logits = self._recognizer.glance_logits(each)
        return logits[:, None].expand(-1, glance_vectors.shape[1], -1)

    def step(
        self, context: Tensor, patch_vectors: Tensor, steps: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps = steps.to(state.device)
        return self._recognizer.classify_step(patch_vectors, context, steps, state)

    def each(self, context: Tensor, patch_vectors: Tensor, steps: Tensor, state: Tensor) -> Tensor:
        steps = steps.to(state.device)
        return self._recognizer.classify_each(patch_vectors, context, steps, state)

    def sequence(self, context: Tensor, patch_vectors: Tensor) -> tuple[Tensor, Tensor]:
        return self._recognizer.classify_sequence(patch_vectors, context[:, 0])
