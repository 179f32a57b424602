"""What stages 0, 1 and 3 have in common as networks: something trained, a loss, a prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from train.stages.supervised.data import Batch


class Stage(nn.Module, ABC):
    """One supervised stage.

    Attributes:
        trained: modules to update, each with its learning rate; BatchNorm and Dropout in training
            mode. Everything else stays as it is.
        looks_per_frame: patches of each frame for which chance is drawn.
        frozen_is_all: whether `predict` needs nothing of a clip but its frozen features.
    """

    trained: Sequence[tuple[nn.Module, float]]
    looks_per_frame = 1
    frozen_is_all = False

    def frozen_features(self, batch: Batch) -> Tensor | None:
        """What no update changes: `(N, T, F)`, worth keeping for clips that come again."""
        del batch
        return None

    @abstractmethod
    def predict(self, batch: Batch | None, frozen: Tensor | None) -> Tensor:
        """`(N, T, K)` logits of every frame (stage 0) or after every step (stages 1 and 3).

        A recognizer that averages over frames has one step in stages 1 and 3, the whole clip.

        Args:
            batch: the clips; None where their frozen features are known and are all.
            frozen: `frozen_features` of the clips; None where a stage has none.
        """

    def forward(self, batch: Batch) -> Tensor:
        """`predict` on clips of which nothing is known."""
        return self.predict(batch, self.frozen_features(batch))

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
    """Stage 0: the clip's logits are the mean over frames, as published."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the mean logits."""
        return F.cross_entropy(self.final(logits), labels)

    def final(self, logits: Tensor) -> Tensor:
        """Mean over frames."""
        return logits.mean(dim=1)


class StepLoss(Stage):
    """Stages 1 and 3: every step is a prediction, as published."""

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

    def forward(self, batch: Batch) -> Tensor:
        """`(N, T, K)` logits."""
        logits: Tensor = self.stage(batch)
        return logits


def use_sync_batchnorm(stage: Stage) -> None:
    """BatchNorm statistics over all processes, in everything that is trained."""
    for module, _ in stage.trained:
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
