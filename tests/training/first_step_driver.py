"""Runs `adafocus ARGUMENTS` with BatchNorm and Dropout in evaluation mode; keeps what it computed.

usage: first_step_driver.py FILE ARGUMENTS...

Rank r writes FILE.r.pt: its first loss, the gradients before the first update, and the scores of
the validation split after each epoch.
"""

import os
import sys

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from train.cli.main import main
from train.stages.supervised.stage import Stage, StepLoss
from train.stages.supervised.validation import Validation


def first_step(target, arguments):
    kept = {"losses": [], "gradients": None, "scores": []}
    loss, score = StepLoss.loss, Validation.score

    def keep_gradients(optimizer, *_):
        if kept["gradients"] is None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            kept["gradients"] = [None if p.grad is None else p.grad.clone() for p in parameters]

    def keep_loss(self, logits, labels):
        value = loss(self, logits, labels)
        kept["losses"].append(value.item())
        return value

    def keep_score(self, epoch):
        value = score(self, epoch)
        kept["scores"].append((value.top1, value.top5, value.map))
        return value

    hook = register_optimizer_step_pre_hook(keep_gradients)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepLoss, "loss", keep_loss)
        patch.setattr(Validation, "score", keep_score)
        patch.setattr(Stage, "set_training", lambda self, training: self.eval())
        code = main(arguments)
    hook.remove()
    torch.save(kept, f"{target}.{os.environ.get('RANK', '0')}.pt")
    return code


def check_same(one, two, others):
    """The parts `two` of a step, and other ways to take it, compute what `one` process does."""
    assert sum(run["losses"][0] for run in two) / 2 == pytest.approx(one["losses"][0], abs=1e-5)
    assert max(float(g.abs().max()) for g in one["gradients"] if g is not None) > 1e-3
    for other in (*two, *others):
        for got, expected in zip(other["gradients"], one["gradients"], strict=True):
            assert (got is None) == (expected is None)
            if expected is not None:
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(other["scores"], one["scores"], rtol=0, atol=1e-6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(first_step(sys.argv[1], sys.argv[2:]))
