"""Stages 0, 1 and 3: clips through networks, cross-entropy, the best epoch kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, InstanceOf
from torch import Tensor, nn
from typing_extensions import TypedDict

from adafocus_env.data import Videos
from adafocus_env.features import BankFeatures
from adafocus_env.seeding import derive_episode_seed
from train.config.keys import ConfigError
from train.config.learning import SupervisedSection
from train.runs.context import RunContext
from train.runs.processes import Processes
from train.runs.progress import ProgressDisplay, ProgressPart
from train.runs.training_state import (
    finish,
    load_state,
    restore_random_state,
    restoring,
    save_state,
)
from train.stages.supervised.data import Batch, Share, clips_of, load_batches
from train.stages.supervised.optim import make_optimizer, make_scheduler
from train.stages.supervised.stage import Stage, TrainedStage, use_sync_batchnorm
from train.stages.supervised.validation import Score, Validation

log = logging.getLogger(__name__)


def train_stage(
    title: str,
    stage: Stage,
    train_split: Videos | BankFeatures,
    val_split: Videos | BankFeatures,
    context: RunContext[SupervisedSection],
    display: ProgressDisplay,
    write: Callable[[], None],
) -> None:
    """Train a stage, write its result and end the run.

    Args:
        title: in the display and the log.
        stage: modules and loss.
        train_split: sampled anew every epoch.
        val_split: the weights are chosen on these.
        context: configuration, processes, folder.
        display: progress.
        write: writes the trained networks; called in the main process.
    """
    with display.part(title, context.config.need("epochs")) as progress:
        best = fit(stage, train_split, val_split, context, progress)
    if context.processes.is_main:
        write()
    finish(context.folder, context.processes)
    log.info("%s: %s, in %s", title, best, context.folder)


def fit(
    stage: Stage,
    train_split: Videos | BankFeatures,
    val_split: Videos | BankFeatures,
    context: RunContext[SupervisedSection],
    progress: ProgressPart,
) -> Score:
    """Train a stage; at the end its modules hold the weights of the best evaluated epoch.

    After each epoch everything that training needs to go on is written to the run folder; a run
    folder that holds such a state is continued.

    Args:
        stage: modules and loss.
        train_split: sampled anew every epoch.
        val_split: the weights are chosen on these.
        context: configuration, processes, folder, TensorBoard events.
        progress: advances with the epochs.

    Returns:
        the score of the epoch whose weights were kept.

    Raises:
        ConfigError: the splits have different classes, or a batch cannot be shared.
    """
    _check_classes(train_split, val_split)
    fitting = _Fitting(stage, train_split, val_split, context)
    if fitting.next_epoch:
        progress.found_done(fitting.next_epoch)
    for epoch in range(fitting.next_epoch, context.config.need("epochs")):
        progress.advance(fitting.run_epoch(epoch, progress))
    assert fitting.best is not None
    stage.load_trained_state(fitting.best_weights)
    return fitting.best


class _State(TypedDict):
    """What `_Fitting` saves after each epoch."""

    next_epoch: Annotated[int, Field(ge=0)]
    weights: list[dict[str, InstanceOf[Tensor]]]
    best: dict[str, float] | None
    best_weights: list[dict[str, InstanceOf[Tensor]]]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any] | None


class _Fitting:
    """A stage in training: what changes from epoch to epoch."""

    def __init__(
        self,
        stage: Stage,
        train_split: Videos | BankFeatures,
        val_split: Videos | BankFeatures,
        context: RunContext[SupervisedSection],
    ):
        config, processes = context.config, context.processes
        self._stage = stage
        self._context = context
        self._epochs: int = config.need("epochs")
        self._clips = clips_of(train_split, config.seed, stage.looks_per_frame)
        self._batch_size = _batch_size(len(self._clips), config, processes)
        self._validation = Validation(stage, val_split, context)
        if config.sync_batchnorm:
            use_sync_batchnorm(stage)
        optimizer = make_optimizer(stage.trained, config)
        batches = len(self._clips) // self._batch_size
        self._scheduler = make_scheduler(optimizer, config, self._epochs, batches)
        self._model, self._optimizer = processes.accelerator.prepare(TrainedStage(stage), optimizer)
        if processes.count > 1:  # or every process would drop the same units
            torch.manual_seed(derive_episode_seed(config.seed, processes.rank) % 2**63)
        self.best: Score | None = None
        self.best_weights: list[dict[str, Tensor]] = []
        self.next_epoch = 0
        self._resume()

    def run_epoch(self, epoch: int, progress: ProgressPart) -> str:
        """Train, evaluate where it is time, write the state; returns a note for the display."""
        context = self._context
        config, processes = context.config, context.processes
        groups = zip(self._stage.trained, self._optimizer.param_groups, strict=True)
        for number, ((module, _), group) in enumerate(groups):
            which = f"_{type(module).__name__}" if number else ""
            context.record(f"train/learning_rate{which}", group["lr"], epoch)
        share = Share(processes.rank, processes.count, processes.accumulation)
        batches = load_batches(
            self._clips,
            epoch,
            batch_size=self._batch_size,
            workers=config.num_workers,
            train=True,
            share=share,
        )
        updates = len(self._clips) // self._batch_size * processes.accumulation
        loss, top1 = train_one_epoch(
            self._stage,
            self._model,
            progress.follow(batches, updates),
            self._optimizer,
            self._scheduler,
            processes,
            max_grad_norm=config.max_grad_norm,
        )
        context.record("train/loss", loss, epoch)
        context.record("train/top1", top1, epoch)
        note = f"loss {loss:.3f}"
        if (epoch + 1) % config.need("eval_freq") == 0 or epoch + 1 == self._epochs:
            score = self._validation.score(epoch)
            values = {name: value for name, value in asdict(score).items() if name != "epoch"}
            for name, value in values.items():
                context.record(f"val/{name}", value, epoch)
            context.note_evaluation(epoch + 1, values)
            log.info("of %d epochs, loss %.4f: %s", self._epochs, loss, score)
            note = f"{note}, val top-1 {score.top1:.3f}, mAP {score.map:.3f}"
            if self.best is None or self._rank(score) > self._rank(self.best):
                self.best, self.best_weights = score, self._stage.trained_state()
        self.next_epoch = epoch + 1
        if self.next_epoch % config.save_freq == 0 or self.next_epoch == self._epochs:
            self._save()
        return note

    def _rank(self, score: Score) -> float:
        """What weights are chosen by."""
        value: float = getattr(score, self._context.config.select_by)
        return value

    def _save(self) -> None:
        context = self._context
        scaler = context.processes.accelerator.scaler
        state = {
            "next_epoch": self.next_epoch,
            "weights": self._stage.trained_state(),
            "best": None if self.best is None else asdict(self.best),
            "best_weights": self.best_weights,
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        save_state(context.folder, context.config.command, context.processes, state)

    def _resume(self) -> None:
        context = self._context
        folder, processes = context.folder, context.processes
        state = load_state(folder, context.config.command, processes, _State)
        if state is None:
            return
        with restoring(folder):
            self._restore(state)
            restore_random_state(state, processes)
        log.info("continuing after epoch %d of %d", self.next_epoch, self._epochs)

    def _restore(self, state: dict[str, Any]) -> None:
        """Take up what `_save` saved.

        Raises:
            ValueError: it is of more epochs than there are.
        """
        self.next_epoch = state["next_epoch"]
        self.best = None if state["best"] is None else Score(**state["best"])
        self.best_weights = state["best_weights"]
        if self.next_epoch > self._epochs or (self.next_epoch == self._epochs and not self.best):
            raise ValueError(f"next_epoch={self.next_epoch} of {self._epochs}, best={self.best}")
        if self.best is not None:  # needed at the end alone, and tried now
            self._stage.load_trained_state(self.best_weights)
        self._stage.load_trained_state(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        scaler = self._context.processes.accelerator.scaler
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])


def train_one_epoch(
    stage: Stage,
    model: nn.Module,
    batches: Iterator[Batch],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    processes: Processes,
    *,
    max_grad_norm: float | None = None,
) -> tuple[float, float]:
    """One pass over the training split.

    Args:
        stage: what is trained, and its loss.
        model: the stage as Accelerate wrapped it.
        batches: this process's.
        optimizer: as Accelerate wrapped it.
        scheduler: stepped after each update.
        processes: those that train together.
        max_grad_norm: longer gradients are shortened to it; None leaves all as they are.

    Returns:
        mean loss, and top-1 (0..1) of the clips as they were trained on, over all processes.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    stage.set_training(True)
    accelerator = processes.accelerator
    losses, hits, seen = [], 0, 0
    for loaded in batches:
        with accelerator.accumulate(model):
            batch = loaded.to(processes.device)
            logits = model(batch)
            loss = stage.loss(logits, batch.labels)
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"the loss became {loss.item()}; lower backbone_lr or fc_lr"
                )
            accelerator.backward(loss)
            if max_grad_norm is not None and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)
            optimizer.step()
            if accelerator.sync_gradients:
                scheduler.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        hits += int((stage.final(logits).argmax(dim=1) == batch.labels).sum())
        seen += len(batch.labels)
    totals = processes.gather([(float(np.mean(losses)), hits, seen)])
    mean_loss = float(np.mean([item[0] for item in totals]))
    return mean_loss, sum(item[1] for item in totals) / sum(item[2] for item in totals)


def _batch_size(num_videos: int, config: SupervisedSection, processes: Processes) -> int:
    """Videos of an update over all processes; fewer where the split is smaller.

    Raises:
        ConfigError: the batch cannot be shared equally, or the split is too small to be.
    """
    parts = processes.count * processes.accumulation
    asked: int = config.need("batch_size")
    if asked % parts:
        raise ConfigError(
            f"batch_size={asked} cannot be split into {processes.count} processes x "
            f"grad_accumulation={processes.accumulation}; use a multiple of {parts}"
        )
    size: int = min(asked, num_videos // parts * parts)
    if size == 0:
        raise ConfigError(f"{num_videos} training videos are too few for {parts} parts of a batch")
    return size


def _check_classes(train_split: Videos | BankFeatures, val_split: Videos | BankFeatures) -> None:
    """Both splits must name the same classes; else a ConfigError."""
    if tuple(train_split.class_names) != tuple(val_split.class_names):
        raise ConfigError("training and validation split have different class files")
