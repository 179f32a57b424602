"""What stages 0, 1 and 3 have in common as networks: something trained, a loss, a prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Stage(nn.Module, ABC):
    """One supervised stage.

    Attributes:
        trained: modules to update, each with its learning rate; BatchNorm and Dropout in training
            mode. Everything else stays as it is.
        frozen_is_all: whether `forward` needs nothing of a clip but its frozen features.
    """

    trained: Sequence[tuple[nn.Module, float]]
    frozen_is_all = False

    def frozen_features(
        self, frames: Tensor, uniforms: Tensor, glance_frames: Tensor | None = None
    ) -> Tensor | None:
        """What no update changes: `(N, T, F)`, worth keeping for clips that come again.

        Args:
            frames: `(N, T, 3, H, W)` uint8.
            uniforms: of the `Batch`.
            glance_frames: `(N, T', 3, H, W)` uint8 of the `Batch`.
        """
        del frames, uniforms, glance_frames
        return None

    @abstractmethod
    def forward(
        self,
        frames: Tensor,
        uniforms: Tensor,
        frozen: Tensor | None = None,
        glance_frames: Tensor | None = None,
    ) -> Tensor:
        """`(N, T, K)` logits of every frame (stage 0) or after every step (stages 1 and 3).

        A recognizer that averages over frames has one step in stages 1 and 3, the whole clip.

        Args:
            frames: `(N, T, 3, H, W)` uint8.
            uniforms: of the `Batch`.
            frozen: `frozen_features` of the same clips, if they are known already.
            glance_frames: `(N, T', 3, H, W)` uint8 of the `Batch`.
        """

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar, mean over the clips; logits `(N, T, K)`, labels `(N,)`."""

    @abstractmethod
    def final(self, logits: Tensor) -> Tensor:
        """`(N, K)`, the clips' logits."""

    def set_training(self, training: bool) -> None:
        """Training or evaluation mode for what is trained."""
        for module, _ in self.trained:
            module.train(training)

    def trained_state(self) -> list[dict[str, Tensor]]:
        """Copies of the trained modules' weights and statistics, on the CPU."""
        return [
            {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
            for module, _ in self.trained
        ]

    def load_trained_state(self, states: Sequence[dict[str, Tensor]]) -> None:
        """Put back what `trained_state` returned."""
        for (module, _), state in zip(self.trained, states, strict=True):
            module.load_state_dict(state)


class FrameLoss(Stage):
    """Stage 0: the clip's logits are the mean over frames (REFERENCE section 5A)."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the mean logits."""
        return F.cross_entropy(self.final(logits), labels)

    def final(self, logits: Tensor) -> Tensor:
        """Mean over frames."""
        return logits.mean(dim=1)


class StepLoss(Stage):
    """Stages 1 and 3: every step is a prediction (REFERENCE sections 5A and 5S)."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, mean over all N * T steps."""
        return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))

    def final(self, logits: Tensor) -> Tensor:
        """The last step's."""
        return logits[:, -1]


class TrainedStage(nn.Module):
    """A stage as Accelerate wraps it.

    Precision and gradient exchange belong to training alone, so validation calls the stage itself:
    in float32, as published, and without waiting for other processes.
    """

    def __init__(self, stage: Stage):
        super().__init__()
        self.stage = stage

    def forward(
        self, frames: Tensor, uniforms: Tensor, glance_frames: Tensor | None = None
    ) -> Tensor:
        """`(N, T, K)` logits."""
        logits: Tensor = self.stage(frames, uniforms, glance_frames=glance_frames)
        return logits


def use_sync_batchnorm(stage: Stage) -> None:
    """BatchNorm statistics over all processes, in everything that is trained."""
    for module, _ in stage.trained:
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
