"""Stage 1: focuser and classifier, or the classifier alone, learn on patches at random places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import AnyRecognizer, crop_patches, freeze
from train.checkpoints.backbones import load_pretrained
from train.checkpoints.judges import write_trained_on
from train.config.commands import Stage1Config
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay
from train.stages.chosen_patches import ChosenPatchStage, choose_patches, open_split_or_bank
from train.stages.supervised.data import Batch, Chance
from train.stages.supervised.loop import train_stage
from train.stages.supervised.stage import StepLoss


class RandomPatchStage(StepLoss):
    """One random place a decision, at any pixel but the last offset as published, or on a grid.

    A decision is a frame, or all frames of a clip (of a division of it) with temporal shift. There
    the published code trains almost nothing: it sets the rates of the wrong groups of weights, and
    all but the very first convolution keep rate 0. Here everything trains, as was intended.

    Args:
        recognizer: its glancer is frozen, with its own class logits where they count.
        backbone_lr: of the focuser; None leaves it as it is.
        fc_lr: of the classifier.
        skip_rate: of the frames whose patch vectors become zeros, see `Chance.focused`.
        grid: whose positions the places are; None: any pixel.
        looks_per_frame: patches of each frame; the classifier takes a step for each, with the
            frame's glance vector. More than 1 only without temporal shift.
    """

    def __init__(
        self,
        recognizer: AnyRecognizer,
        backbone_lr: float | None,
        fc_lr: float,
        *,
        skip_rate: float | str | None = None,
        grid: PatchGrid | None = None,
        looks_per_frame: int = 1,
    ):
        super().__init__()
        self._skip_rate = skip_rate
        self._grid = grid
        self.looks_per_frame = looks_per_frame
        freeze(recognizer.glancer)
        recognizer.focuser.class_head().requires_grad_(False)  # has no part in this stage
        self._recognizer = recognizer
        trained: list[tuple[nn.Module, float]] = [(recognizer.classifier, fc_lr)]
        if backbone_lr is None:
            freeze(recognizer.focuser)
        else:
            trained.insert(0, (recognizer.focuser, backbone_lr))
        self.trained: Sequence[tuple[nn.Module, float]] = trained

    @torch.no_grad()
    def frozen_features(self, batch: Batch) -> Tensor:
        """Glance vectors `(N, T', C)`, each once for every look at its frame."""
        _, glance_vectors = self._recognizer.glance(batch.seen.flatten(0, 1))
        vectors: Tensor = glance_vectors.unflatten(0, batch.seen.shape[:2])
        return vectors.repeat_interleave(self.looks_per_frame, dim=1)

    def predict(self, batch: Batch | None, frozen: Tensor | None) -> Tensor:
        """`(N, T, K)` after every step, `(N, 1, K)` where a clip is one."""
        assert batch is not None
        assert frozen is not None
        recognizer, config, frames = self._recognizer, self._recognizer.config, batch.frames
        group = recognizer.focus_group  # its patches lie at one place
        chance = batch.chance.per_decision(group)
        offsets = self._offsets(chance).repeat_interleave(group, dim=1)
        shown = torch.arange(len(frames) * frames.shape[1], device=frames.device)
        patches = crop_patches(
            frames.flatten(0, 1),
            offsets.flatten(0, 1),
            config.patch_size,
            index=shown.repeat_interleave(self.looks_per_frame),
        )
        patch_vectors = recognizer.focus(patches).unflatten(0, offsets.shape[:2])
        if self._skip_rate is not None:
            # Not left out before the focuser: every process and update needs patches for its norms.
            focused = chance.focused(self._skip_rate).repeat_interleave(group, dim=1)
            patch_vectors = patch_vectors * focused[..., None].to(patch_vectors)
        return recognizer.train_clips(recognizer.clip_features(frozen, patch_vectors))

    def _offsets(self, chance: Chance) -> Tensor:
        """`(N, D, 2)` pixels (top, left) of the random places."""
        config = self._recognizer.config
        if self._grid is None:
            return (chance.places * (config.frame_size - config.patch_size)).long()
        lines = (chance.places * self._grid.grid_size).long()
        return self._grid.offsets(lines[..., 0] * self._grid.grid_size + lines[..., 1])


def run_stage1(
    config: Stage1Config, context: RunContext[Stage1Config], display: ProgressDisplay
) -> None:
    """Train focuser and classifier and write the recognizer to `recognizer/` of the run folder.

    With `backbone_lr=0` the focuser stays as stage 0 made it. With `features=bank:PATH` so does it,
    and the classifier learns alone, on random positions of the bank. Beside the recognizer is
    written what it has learned from.
    """
    train_videos = context.open_split("train", training=True)
    recognizer = context.new_recognizer(tuple(train_videos.class_names))
    load_pretrained(recognizer, config)
    sizes, fc_lr = recognizer.config, config.need("fc_lr")
    grid = PatchGrid(config.grid_size, sizes.frame_size, sizes.patch_size)
    train_split = open_split_or_bank("train", recognizer, grid, context)
    val_split = open_split_or_bank("val", recognizer, grid, context)
    stage: StepLoss
    if config.features == "live":
        stage = RandomPatchStage(
            recognizer,
            config.need("backbone_lr") or None,
            fc_lr,
            skip_rate=config.skip_rate,
            grid=grid if config.patch_positions == "grid" else None,
            looks_per_frame=config.looks_per_frame,
        )
    else:
        if config.looks_per_frame > 1:
            raise ConfigError(
                f"looks_per_frame={config.looks_per_frame} is for features=live; leave it out"
            )
        choose = choose_patches("random", grid, recognizer)
        stage = ChosenPatchStage(recognizer, choose, fc_lr, skip_rate=config.skip_rate)

    def write() -> None:
        recognizer.save(context.folder / "recognizer")
        write_trained_on(context.folder, train_videos)

    learning = "focuser and classifier" if config.features == "live" else "classifier"
    train_stage(
        f"stage 1: {learning}, random patches",
        stage,
        train_split,
        val_split,
        context,
        display,
        write,
    )
