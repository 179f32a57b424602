"""Runs `adafocus ARGUMENTS` with BatchNorm and Dropout in evaluation mode; keeps what it computed.

usage: first_step_driver.py FILE ARGUMENTS...

Rank r writes FILE.r.pt: its first loss, the gradients before the first update, and the scores of
the validation split after each epoch.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from train.cli.main import main
from train.stages.supervised.stage import Stage, StepLoss
from train.stages.supervised.validation import Validation

kept: dict[str, Any] = {"losses": [], "gradients": None, "scores": []}


def keep_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    if kept["gradients"] is None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        kept["gradients"] = [None if p.grad is None else p.grad.clone() for p in parameters]


loss, score = StepLoss.loss, Validation.score


def keep_loss(self: StepLoss, logits: Tensor, labels: Tensor) -> Tensor:
    value = loss(self, logits, labels)
    kept["losses"].append(value.item())
    return value


def keep_score(self: Validation, epoch: int) -> Any:
    value = score(self, epoch)
    kept["scores"].append((value.top1, value.top5, value.map))
    return value


def stay_in_evaluation_mode(self: Stage, training: bool) -> None:
    del training
    self.eval()


register_optimizer_step_pre_hook(keep_gradients)
StepLoss.loss = keep_loss
Validation.score = keep_score
Stage.set_training = stay_in_evaluation_mode
torch.set_num_threads(1)
target, arguments = sys.argv[1], sys.argv[2:]
code = main(arguments)
torch.save(kept, f"{target}.{os.environ.get('RANK', '0')}.pt")
sys.exit(code)
