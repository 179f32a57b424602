"""How stages 0, 1 and 3 judge an epoch: top-1, top-5 and mAP on the validation split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from adafocus_env.data import Videos
from adafocus_env.features import BankFeatures
from train.config.learning import SupervisedSection
from train.evaluation.metrics import classification_metrics
from train.runs.context import RunContext
from train.stages.supervised.data import VALIDATION_EPOCH, Batch, Share, clips_of, load_batches
from train.stages.supervised.stage import Stage


@dataclass(frozen=True)
class Score:
    """What the validation split says of an epoch; rates are 0..1, the epoch counts from 0.

    The confidence is that in the true class, mean over the frames.
    """

    epoch: int
    top1: float
    top5: float
    map: float
    confidence: float = math.nan  # states of earlier versions do not have it

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch + 1}, val top-1 {self.top1:.3f}, top-5 {self.top5:.3f}, "
            f"mAP {self.map:.3f}, confidence {self.confidence:.3f}"
        )


class Validation:
    """Judges a stage on the validation split, every video once, shared between the processes.

    The clips are the same each time, so what the frozen networks see in them is computed once and
    kept: 0.4 GB for ActivityNet in stage 1, 1 GB in stage 3.

    Args:
        stage: what is judged.
        split: its videos, or a bank of their features.
        context: batch size, processes, rules of the metrics.
    """

    def __init__(
        self,
        stage: Stage,
        split: Videos | BankFeatures,
        context: RunContext[SupervisedSection],
    ):
        self._stage = stage
        self._context = context
        self._clips = clips_of(split, context.config.seed, stage.looks_per_frame)
        self._cached: dict[int, Tensor] = {}

    @torch.no_grad()
    def score(self, epoch: int) -> Score:
        """The score of the stage as it is now."""
        config = self._context.config
        self._stage.set_training(False)
        labels = torch.as_tensor(self._clips.videos.labels)
        own: list[tuple[int, Tensor, float]] = []
        for indices, logits in self._logits():
            steps = logits.float().softmax(dim=2).cpu()
            true = steps.gather(2, labels[indices, None, None].expand(*steps.shape[:2], 1))
            finals = self._stage.final(logits).float().cpu()
            own += zip(indices, finals, true.mean(dim=(1, 2)).tolist(), strict=True)
        gathered = sorted(self._context.processes.gather(own), key=lambda item: item[0])
        values = classification_metrics(
            torch.stack([logits for _, logits, _ in gathered]).numpy(),
            self._clips.videos.label_sets,
            map_rule=config.map_rule,
            map_labels=config.map_labels,
        )
        confidence = sum(true for _, _, true in gathered) / len(gathered)
        return Score(epoch, values["top1"], values["top5"], values["map"], confidence)

    def _logits(self) -> Iterator[tuple[list[int], Tensor]]:
        """Indices and `(n, T, K)` logits of this process's videos, batch by batch."""
        config, processes, stage = self._context.config, self._context.processes, self._stage
        batch_size: int = config.need("batch_size")
        if stage.frozen_is_all and self._cached:
            indices = sorted(self._cached)
            for i in range(0, len(indices), batch_size):
                chosen = indices[i : i + batch_size]
                yield chosen, stage.predict(None, self._frozen_of(chosen))
            return
        loaded = load_batches(
            self._clips,
            VALIDATION_EPOCH,
            batch_size=batch_size,
            workers=config.num_workers,
            train=False,
            share=Share(processes.rank, processes.count),
        )
        for batch in (item.to(processes.device) for item in loaded):
            indices = batch.indices.tolist()
            if indices[0] in self._cached:
                frozen: Tensor | None = self._frozen_of(indices)
            else:
                frozen = self._computed(batch, indices)
            yield indices, stage.predict(batch, frozen)

    def _computed(self, batch: Batch, indices: list[int]) -> Tensor | None:
        frozen = self._stage.frozen_features(batch)
        if frozen is not None:
            self._cached.update(zip(indices, frozen.cpu(), strict=True))
        return frozen

    def _frozen_of(self, indices: list[int]) -> Tensor:
        cached = torch.stack([self._cached[index] for index in indices])
        return cached.to(self._context.processes.device)
