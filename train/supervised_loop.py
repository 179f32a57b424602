"""Stages 0, 1 and 3: clips through networks, cross-entropy, the best epoch kept."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from adafocus_env.data import Videos
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng
from train.config import ConfigError, RunConfig
from train.progress import ProgressPart

log = logging.getLogger(__name__)

# Epoch number under which validation clips are drawn: every evaluation sees the same ones.
VALIDATION_EPOCH = 2**32 - 1


@dataclass(frozen=True)
class Batch:
    """Labelled clips and the random numbers that belong to them.

    Attributes:
        frames: `(N, T, 3, H, W)` uint8.
        labels: `(N,)` int64.
        uniforms: `(N, T, 2)` float64 in [0, 1): where random patches are, whoever needs them.
    """

    frames: Tensor
    labels: Tensor
    uniforms: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch with its frames and labels on a device."""
        return Batch(self.frames.to(device), self.labels.to(device), self.uniforms)


class LabelledClips(Dataset[Batch]):
    """A split as batches' items; what is drawn depends on `(seed, epoch, index)` alone.

    So neither the number of workers nor the batch size changes a clip.
    """

    def __init__(self, videos: Videos, seed: int):
        self.videos = videos
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Batch:
        episode_seed = derive_episode_seed(self.seed, self.epoch, index)
        clip = self.videos.clip(index, episode_seed)
        uniforms = episode_rng(episode_seed, Purpose.PATCH).random((len(clip.frames), 2))
        return Batch(clip.frames, torch.tensor(clip.label), torch.from_numpy(uniforms))


def load_batches(
    clips: LabelledClips, epoch: int, *, batch_size: int, workers: int, train: bool
) -> Iterator[Batch]:
    """The batches of one epoch: shuffled, the incomplete last one dropped, when training."""
    clips.epoch = epoch
    generator = torch.Generator().manual_seed(derive_episode_seed(clips.seed, epoch) % 2**63)
    loader: DataLoader[Batch] = DataLoader(
        clips,
        batch_size=min(batch_size, len(clips)),
        shuffle=train,
        drop_last=train,
        num_workers=workers,
        collate_fn=_collate,
        generator=generator,
    )
    return iter(loader)


def _collate(items: Sequence[Batch]) -> Batch:
    return Batch(
        torch.stack([item.frames for item in items]),
        torch.stack([item.labels for item in items]),
        torch.stack([item.uniforms for item in items]),
    )


class Stage(Protocol):
    """What a supervised stage trains, and on which loss.

    Attributes:
        trained: modules to update, each with its learning rate; BatchNorm and Dropout in training
            mode. Everything else stays as it is.
    """

    trained: Sequence[tuple[nn.Module, float]]

    def logits(self, batch: Batch) -> Tensor:
        """`(N, T, K)` of every frame (stage 0) or after every step (stages 1 and 3)."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar."""
        ...

    def final(self, logits: Tensor) -> Tensor:
        """`(N, K)`, the clip's logits."""
        ...


class FrameLoss:
    """Stage 0: the clip's logits are the mean over frames (REFERENCE section 5A)."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the mean logits."""
        return F.cross_entropy(self.final(logits), labels)

    def final(self, logits: Tensor) -> Tensor:
        """Mean over frames."""
        return logits.mean(dim=1)


class StepLoss:
    """Stages 1 and 3: every step is a prediction (REFERENCE section 5A)."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, mean over all N * T steps."""
        return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))

    def final(self, logits: Tensor) -> Tensor:
        """The last step's."""
        return logits[:, -1]


@dataclass(frozen=True)
class FitResult:
    """What training reached.

    Attributes:
        best_epoch: 0-based epoch whose weights were kept.
        best_top1: its top-1 on the validation split, 0..1.
    """

    best_epoch: int
    best_top1: float


def fit(
    stage: Stage,
    train_videos: Videos,
    val_videos: Videos,
    config: RunConfig,
    device: torch.device,
    writer: SummaryWriter,
    progress: ProgressPart,
) -> FitResult:
    """Train a stage; at the end its modules hold the weights of the best evaluated epoch.

    Args:
        stage: modules and loss.
        train_videos: sampled anew every epoch.
        val_videos: the weights are chosen on these.
        config: epochs, batch size, optimiser, learning rates, `eval_freq`.
        device: where the modules are.
        writer: TensorBoard events.
        progress: advances once an epoch.
    """
    epochs, batch_size = config.need("epochs"), config.need("batch_size")
    clips = LabelledClips(train_videos, config.seed)
    batches = len(clips) // min(batch_size, len(clips))
    optimizer = make_optimizer(stage.trained, config)
    scheduler = make_scheduler(optimizer, config, epochs, batches)
    best = FitResult(-1, -1.0)
    best_weights: list[dict[str, Tensor]] = []
    for epoch in range(epochs):
        writer.add_scalar("train/learning_rate", optimizer.param_groups[0]["lr"], epoch)
        source = load_batches(
            clips, epoch, batch_size=batch_size, workers=config.num_workers, train=True
        )
        loss, top1 = train_one_epoch(stage, source, optimizer, scheduler, device)
        writer.add_scalar("train/loss", loss, epoch)
        writer.add_scalar("train/top1", top1, epoch)
        note = f"loss {loss:.3f}"
        if (epoch + 1) % config.need("eval_freq") == 0 or epoch + 1 == epochs:
            top1 = evaluate_top1(stage, val_videos, config, device)
            writer.add_scalar("val/top1", top1, epoch)
            log.info("epoch %d/%d: loss %.4f, val top-1 %.3f", epoch + 1, epochs, loss, top1)
            note = f"loss {loss:.3f}, val top-1 {top1:.3f}"
            if top1 > best.best_top1:
                best = FitResult(epoch, top1)
                best_weights = [copy.deepcopy(module.state_dict()) for module, _ in stage.trained]
        progress.advance(note)
    for (module, _), weights in zip(stage.trained, best_weights, strict=True):
        module.load_state_dict(weights)
    return best


def train_one_epoch(
    stage: Stage,
    batches: Iterator[Batch],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    device: torch.device,
) -> tuple[float, float]:
    """One pass over the training split.

    Returns:
        mean loss, and top-1 (0..1) of the clips as they were trained on.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    _set_training(stage, True)
    losses, hits, seen = [], 0, 0
    for loaded in batches:
        batch = loaded.to(device)
        logits = stage.logits(batch)
        loss = stage.loss(logits, batch.labels)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"the loss became {loss.item()}; lower backbone_lr or fc_lr")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        hits += int((stage.final(logits).argmax(dim=1) == batch.labels).sum())
        seen += len(batch.labels)
    return float(np.mean(losses)), hits / seen


@torch.no_grad()
def evaluate_top1(stage: Stage, videos: Videos, config: RunConfig, device: torch.device) -> float:
    """Top-1 (0..1) of the clips' logits, every video once."""
    _set_training(stage, False)
    clips = LabelledClips(videos, config.seed)
    source = load_batches(
        clips,
        VALIDATION_EPOCH,
        batch_size=config.need("batch_size"),
        workers=config.num_workers,
        train=False,
    )
    hits = 0
    for loaded in source:
        batch = loaded.to(device)
        hits += int((stage.final(stage.logits(batch)).argmax(dim=1) == batch.labels).sum())
    return hits / len(clips)


def make_optimizer(
    trained: Sequence[tuple[nn.Module, float]], config: RunConfig
) -> torch.optim.Optimizer:
    """SGD with momentum (published) or AdamW, one parameter group a module."""
    groups = [{"params": list(module.parameters()), "lr": lr} for module, lr in trained]
    if config.need("optimizer") == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: RunConfig, epochs: int, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Stepped after every batch.

    `cos` is the published schedule, `lr / 2 * (1 + cos(pi * epoch / epochs))` set at the start of
    each epoch; the published extra epoch at learning rate 0 is left out. `step` divides by 10 after
    half of the epochs. `onecycle` warms up to the rate and anneals.
    """
    if config.need("lr_type") == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * batches)
    if config.lr_type == "cos":
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * (step // batches) / epochs))
        )
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.1 if step // batches >= max(1, epochs // 2) else 1.0
    )


def check_classes(train_videos: Videos, val_videos: Videos) -> None:
    """Both splits must name the same classes.

    Raises:
        ConfigError: they do not.
    """
    if tuple(train_videos.class_names) != tuple(val_videos.class_names):
        raise ConfigError("training and validation split have different class files")


def _set_training(stage: Stage, training: bool) -> None:
    for module, _ in stage.trained:
        module.train(training)
