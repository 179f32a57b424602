"""Stage 0: fine-tune the glancer or the focuser, frame by frame, on whole frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adafocus_env.networks import AnyRecognizer, Focuser, Glancer
from train.checkpoints.backbones import load_backbone, save_backbone
from train.config.commands import Stage0Config
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay
from train.stages.supervised.data import Batch
from train.stages.supervised.loop import train_stage
from train.stages.supervised.stage import FrameLoss

log = logging.getLogger(__name__)


class BackboneStage(FrameLoss):
    """The classification head of one backbone on frames of a clip.

    A backbone with temporal shift sees all frames of a clip that are its own. (The published code
    leaves these to the TSM repository, whose recipe is in PUBLISHED.md, "Stages and schedules".)

    Args:
        recognizer: holds the network and knows its input.
        part: `"glancer"`, which sees resized frames, or `"focuser"`, which sees them whole.
        learning_rate: of the whole network.
        frames_per_clip: evenly spaced frames of each clip to use; None uses all.
    """

    def __init__(
        self,
        recognizer: AnyRecognizer,
        part: str,
        learning_rate: float,
        frames_per_clip: int | None,
    ):
        super().__init__()
        self.network: Glancer | Focuser = getattr(recognizer, part)
        self.trained: Sequence[tuple[nn.Module, float]] = [(self.network, learning_rate)]
        self._glances = part == "glancer"
        self._prepare = recognizer.glance_input if self._glances else recognizer.normalize
        self._dropout = recognizer.head_dropout
        group = recognizer.glance_group if self._glances else recognizer.focus_group
        if group > 1 and frames_per_clip is not None:
            raise ConfigError(
                f"the {part} has temporal shift over {group} frames and cannot be trained on "
                f"{frames_per_clip} of a clip; set {part}_frames=null"
            )
        self._frames_per_clip = frames_per_clip

    def predict(self, batch: Batch | None, frozen: Tensor | None) -> Tensor:
        """`(N, T, K)` of the chosen frames; random numbers have no part in it."""
        del frozen
        assert batch is not None
        frames = batch.seen if self._glances else batch.frames
        if self._frames_per_clip is not None and self._frames_per_clip < frames.shape[1]:
            span = torch.linspace(0, frames.shape[1] - 1, self._frames_per_clip).round().long()
            frames = frames[:, span]
        seen = self._prepare(frames.flatten(0, 1))
        if self._dropout is None:
            logits: Tensor = self.network(seen)
        else:
            vectors = F.dropout(self.network.pooled(seen), self._dropout, self.network.training)
            logits = self.network.class_head()(vectors)
        return logits.view(*frames.shape[:2], -1)


def run_stage0(
    config: Stage0Config, context: RunContext[Stage0Config], display: ProgressDisplay
) -> None:
    """Train one backbone and write it to `glancer/` or `focuser/` of the run folder."""
    train_videos = context.open_split("train", training=True)
    val_videos = context.open_split("val")
    recognizer = context.new_recognizer(tuple(train_videos.class_names))
    part = config.trained
    name, frames = (
        (config.glancer, config.glancer_frames)
        if config.pretrain_glancer
        else (config.focuser, config.focuser_frames)
    )
    if config.pretrained is None:
        log.info("the %s (%s) starts from random weights", part, name)
    else:
        load_backbone(getattr(recognizer, part), name, config.pretrained, part)
    stage = BackboneStage(recognizer, part, config.need("backbone_lr"), frames)
    train_stage(
        f"stage 0: {part}",
        stage,
        train_videos,
        val_videos,
        context,
        display,
        lambda: save_backbone(
            stage.network, name, recognizer.config.class_names, context.folder / part
        ),
    )
