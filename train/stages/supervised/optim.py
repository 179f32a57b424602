"""Optimisers and learning rates of stages 0, 1 and 3."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from train.config.learning import SupervisedSection


def make_optimizer(
    trained: Sequence[tuple[nn.Module, float]], config: SupervisedSection
) -> torch.optim.Optimizer:
    """SGD with momentum (published) or AdamW, one parameter group a module."""
    groups = [{"params": list(module.parameters()), "lr": lr} for module, lr in trained]
    if config.need("optimizer") == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: SupervisedSection, epochs: int, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Stepped after every update.

    `cos` is the published schedule, `lr / 2 * (1 + cos(pi * epoch / epochs))` set at the start of
    each epoch; the published extra epoch at learning rate 0 is left out. `step` divides by 10 at
    each epoch of `lr_steps`, as published. `onecycle` warms up to the rate and anneals.
    """
    if config.need("lr_type") == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * batches)
    if config.lr_type == "cos":
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * (step // batches) / epochs))
        )
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.1 ** sum(at <= step // batches for at in config.lr_steps)
    )
