"""Multiply-adds of anything that runs, counted by PyTorch as it runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def executed_multiply_adds(run: Callable[[], object]) -> float:
    """Multiply-adds of what `run` really computes, wherever it does.

    The fused recurrent networks of cuDNN and oneDNN are switched off meanwhile: the counter does
    not see into them.
    """
    backends = torch.backends
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")  # about Intel's GPUs
        with backends.cudnn.flags(enabled=False), backends.mkldnn.flags(enabled=False):
            return count_multiply_adds(run)


def count_multiply_adds(run: Callable[[], object]) -> float:
    """Multiply-adds of convolutions, matrix products and unfused recurrent networks in `run`."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops() / 2
