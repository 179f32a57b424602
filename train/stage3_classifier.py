"""Stage 3: the classifier learns on the patches that a policy chooses."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import FrozenRecognizer, Recognizer, freeze
from agents.acting import act_on_episodes, look_at, seen_by
from agents.gru_policy import GruActorCriticPolicy
from train.checkpoints import (
    ZIP_FILE,
    check_classes,
    check_sizes,
    find_part,
    load_fitting_policy,
    load_recognizer,
    require_recurrent,
)
from train.config import RunConfig
from train.progress import ProgressDisplay
from train.run_context import RunContext
from train.supervised_loop import complete, fit
from train.supervised_stage import StepLoss

log = logging.getLogger(__name__)

# Glance maps (N, T, C, h, w) and uniforms (N, T, 2) to grid actions (N, T), or to (top, left)
# offsets (N, T, 2) in pixels.
ChooseActions = Callable[[Tensor, Tensor], Tensor]


class ChosenPatchStage(StepLoss):
    """The patch that a policy chooses in each frame; everything but the classifier is frozen.

    Args:
        recognizer: of stage 1.
        grid: the positions.
        choose: the policy.
        fc_lr: of the classifier.
    """

    frozen_is_all = True

    def __init__(
        self, recognizer: Recognizer, grid: PatchGrid, choose: ChooseActions, fc_lr: float
    ):
        super().__init__()
        freeze(recognizer)
        recognizer.classifier.requires_grad_(True)
        self._recognizer = recognizer
        self._networks = FrozenRecognizer(recognizer)
        self._grid = grid
        self._choose = choose
        self.trained: Sequence[tuple[nn.Module, float]] = [(recognizer.classifier, fc_lr)]

    def forward(self, frames: Tensor, uniforms: Tensor, frozen: Tensor | None = None) -> Tensor:
        """`(N, T, K)` after every step."""
        if frozen is None:
            frozen = self.frozen_features(frames, uniforms)
        return self._recognizer.classify_sequence(frozen)[0]

    @torch.no_grad()
    def frozen_features(self, frames: Tensor, uniforms: Tensor) -> Tensor:
        """The classifier's whole input `(N, T, C + F)`."""
        shape, frames = frames.shape[:2], frames.flatten(0, 1)
        glance_maps, glance_vectors = self._networks.glance(frames)
        chosen = self._choose(glance_maps.unflatten(0, shape), uniforms)
        offsets = (chosen if chosen.dim() == 3 else self._grid.offsets(chosen)).flatten(0, 1)
        patch_vectors = self._networks.focus(frames, offsets)
        return torch.cat([glance_vectors, patch_vectors], dim=1).view(*shape, -1)


def choose_actions(
    policy: str, grid: PatchGrid, recognizer: Recognizer, *, trust: bool = False
) -> ChooseActions:
    """A policy by name or by the folder it is saved in.

    Args:
        policy: `"random"`, `"center"`, or a folder that holds `policy/`, or a `.zip` of SB3.
        grid: the positions.
        recognizer: whose glance maps the policy sees.
        trust: open a `.zip`, which can run code.

    Raises:
        CheckpointError: the saved policy sees other maps or acts on another grid.
    """
    if policy == "random":
        return lambda _, uniforms: (uniforms[..., 0] * grid.num_actions).long()
    if policy == "center":
        return lambda maps, _: torch.full(maps.shape[:2], grid.center_action)
    saved = load_fitting_policy(policy, grid, recognizer, trust=trust)
    sizes = recognizer.config

    @torch.no_grad()
    def choose(maps: Tensor, _: Tensor) -> Tensor:
        if isinstance(saved, GruActorCriticPolicy):
            actions = saved.evaluate_episodes(seen_by(saved, maps))[0].best().cpu().numpy()
        else:
            actions = act_on_episodes(saved, maps)
        return look_at(
            saved.action_space,
            actions,
            grid,
            frame_size=sizes.frame_size,
            patch_size=sizes.patch_size,
        )

    return choose


def run_stage3(config: RunConfig, context: RunContext, display: ProgressDisplay) -> None:
    """Fine-tune the classifier; write the whole recognizer to `recognizer/` of the run folder."""
    loaded = load_recognizer(config.source_run, "resume", str(context.device))
    check_sizes(loaded, config)
    recognizer = require_recurrent(loaded, "stage3")
    policy = config.policy or str(config.source_run)
    grid = PatchGrid(config.grid_size, recognizer.config.frame_size, recognizer.config.patch_size)
    choose = choose_actions(policy, grid, recognizer, trust=config.trust)
    train_videos = context.open_split("train", training=True)
    val_videos = context.open_split("val")
    check_classes(recognizer, train_videos)
    check_classes(recognizer, val_videos)
    stage = ChosenPatchStage(recognizer, grid, choose, config.need("fc_lr"))
    torch.manual_seed(config.seed)  # Dropout
    name = policy if policy in ("random", "center") else "policy"
    with display.part(f"stage 3: classifier, {name}", config.need("epochs")) as progress:
        best = fit(stage, train_videos, val_videos, context, progress)
    if context.processes.is_main:
        _write_results(recognizer, policy if name == "policy" else None, context)
    complete(context)
    log.info("classifier of %s, in %s", best, context.folder / "recognizer")


def _write_results(recognizer: Recognizer, policy: str | None, context: RunContext) -> None:
    recognizer.save(context.folder / "recognizer")
    if policy is not None:  # beside the classifier that knows its patches
        source = Path(policy)
        for candidate in (source / ZIP_FILE, source):
            if candidate.is_file() and not (source / "policy").exists():
                shutil.copyfile(candidate, context.folder / ZIP_FILE)
                return
        source = find_part(policy, "policy", "adafocus stage2")
        target = context.folder / "policy"
        if source.resolve() != target.resolve():
            shutil.copytree(source, target, dirs_exist_ok=True)
