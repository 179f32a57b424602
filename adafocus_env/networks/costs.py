"""Multiply-adds of a recognizer's parts, counted by PyTorch without computing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from adafocus_env.networks.loading import AnyRecognizer, AnyRecognizerConfig, build_recognizer


@dataclass(frozen=True)
class RecognizerCosts:
    """Multiply-adds of one run of each part.

    Attributes:
        glance: of the glancer on a frame.
        patch: of the focuser on a patch.
        decision: of the classifier; what it needs once a clip is shared among its decisions.
    """

    glance: float
    patch: float
    decision: float


def count_multiply_adds(run: Callable[[], object]) -> float:
    """Multiply-adds of convolutions, matrix products and unfused recurrent networks in `run`."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops() / 2


@lru_cache(maxsize=16)
def recognizer_costs(config: AnyRecognizerConfig, patch_size: int | None = None) -> RecognizerCosts:
    """Counted over convolutions, linear layers and GRUs, as the paper counts.

    Copies of the networks on the meta device, which have shapes and no weights, take the CPU's way
    through a GRU.

    Args:
        config: of the recognizer.
        patch_size: side of the patches in pixels; None takes the recognizer's.
    """
    if patch_size is not None:
        config = replace(config, patch_size=patch_size)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        networks = build_recognizer(config).eval()
        frames = _dark(networks.glance_group, config.frame_size)
        patches = _dark(networks.focus_group, config.patch_size)
        return RecognizerCosts(
            count_multiply_adds(lambda: networks.glance(frames)) / networks.glance_group,
            count_multiply_adds(lambda: networks.focus(patches)) / networks.focus_group,
            _count_decision(networks),
        )


def _dark(count: int, side: int) -> Tensor:
    return torch.zeros(count, 3, side, side, dtype=torch.uint8)


def _count_decision(recognizer: AnyRecognizer) -> float:
    """Of the classifier; the glancer's own logits, once a video, are shared among decisions."""
    decisions = recognizer.config.num_frames // recognizer.focus_group
    channels = recognizer.glancer.num_channels * recognizer.glances_per_decision
    glances = torch.zeros(1, decisions, channels)
    context = recognizer.glance_context(glances)[:, 0]
    vectors = torch.zeros(1, recognizer.focuser.num_features)
    state = torch.zeros(1, recognizer.state_size)
    shared = count_multiply_adds(lambda: recognizer.glance_context(glances)) / decisions
    return shared + count_multiply_adds(lambda: recognizer.classify_step(context, vectors, state))
