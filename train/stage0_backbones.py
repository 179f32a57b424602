"""Stage 0: fine-tune the glancer or the focuser, frame by frame, on whole frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adafocus_env.networks import Recognizer
from train.checkpoints import load_backbone, save_backbone
from train.config import RunConfig
from train.progress import ProgressDisplay
from train.run_context import RunContext
from train.supervised_loop import complete, fit
from train.supervised_stage import FrameLoss

log = logging.getLogger(__name__)


class BackboneStage(FrameLoss):
    """The classification head of one backbone on frames of a clip.

    Args:
        recognizer: holds the network and knows its input.
        part: `"glancer"`, which sees resized frames, or `"focuser"`, which sees them whole.
        learning_rate: of the whole network.
        frames_per_clip: evenly spaced frames of each clip to use; None uses all.
    """

    def __init__(
        self, recognizer: Recognizer, part: str, learning_rate: float, frames_per_clip: int | None
    ):
        super().__init__()
        self.network: nn.Module = getattr(recognizer, part)
        self.trained: Sequence[tuple[nn.Module, float]] = [(self.network, learning_rate)]
        self._prepare = recognizer.glance_input if part == "glancer" else recognizer.normalize
        self._frames_per_clip = frames_per_clip

    def forward(self, frames: Tensor, uniforms: Tensor, frozen: Tensor | None = None) -> Tensor:
        """`(N, T, K)` of the chosen frames; the other arguments have no part in it."""
        del uniforms, frozen
        if self._frames_per_clip is not None and self._frames_per_clip < frames.shape[1]:
            span = torch.linspace(0, frames.shape[1] - 1, self._frames_per_clip).round().long()
            frames = frames[:, span]
        logits: Tensor = self.network(self._prepare(frames.flatten(0, 1)))
        return logits.view(*frames.shape[:2], -1)


def run_stage0(config: RunConfig, context: RunContext, display: ProgressDisplay) -> None:
    """Train one backbone and write it to `glancer/` or `focuser/` of the run folder."""
    train_videos = context.open_split("train", training=True)
    val_videos = context.open_split("val")
    recognizer = context.new_recognizer(tuple(train_videos.class_names))
    part = "glancer" if config.pretrain_glancer else "focuser"
    name = getattr(config, part)
    initial = config.pretrained_glancer if part == "glancer" else config.pretrained_focuser
    if initial is not None:
        load_backbone(getattr(recognizer, part), name, initial, part)
    rate = config.need("backbone_lr")
    stage = BackboneStage(recognizer, part, rate, getattr(config, f"{part}_frames"))
    with display.part(f"stage 0: {part}", config.need("epochs")) as progress:
        best = fit(stage, train_videos, val_videos, context, progress)
    if context.processes.is_main:
        save_backbone(stage.network, name, recognizer.config.class_names, context.folder / part)
    complete(context)
    log.info("%s of %s, in %s", part, best, context.folder / part)
