"""Stages 1 and 3 of the training code on a parity `Case`: the one place that knows their API."""

from __future__ import annotations

import torch
from torch import Tensor

from adafocus_env.envs import PatchChoice, PatchGrid
from adafocus_env.networks import Recognizer
from agents.policies.gru_policy import GruActorCriticPolicy
from given_case import Case
from train.config.compose import compose_command, read_config
from train.stages.chosen_patches import ChosenPatchStage
from train.stages.stage1_random_patches import RandomPatchStage
from train.stages.supervised.data import Batch, Chance
from train.stages.supervised.optim import make_optimizer


def published_config(command, *overrides, experiment="actnet_patch128"):
    """The configuration of a command under an experiment."""
    given = ["output_dir=unused", f"experiment={experiment}", *overrides]
    return read_config(compose_command(command, given).cfg)


def stage1_logits(case: Case, recognizer: Recognizer) -> Tensor:
    """Logits `(B, T, K)` of stage 1's forward pass on the case's random patches."""
    with torch.no_grad():
        return RandomPatchStage(recognizer, 0.0, 0.0)(_batch(case, recognizer))


def stage1_step(case, recognizer, *, backbone_lr, fc_lr):
    """One published training step of stage 1; changes the recognizer's weights.

    Returns:
        `loss`, `logits (B, T, K)`, and `grads`, by canonical key, None where there is none.
    """
    config = published_config("stage1", "data_dir=unused")
    recognizer.requires_grad_(True)
    stage = RandomPatchStage(recognizer, backbone_lr, fc_lr)
    optimizer = make_optimizer(stage.trained, config)
    stage.set_training(True)
    logits = stage(_batch(case, recognizer))
    loss = stage.loss(logits, case.labels)
    loss.backward()
    optimizer.step()
    grads = {
        name: parameter.grad
        for name, parameter in recognizer.named_parameters()
        if not name.startswith("glancer.")
    }
    return {"loss": loss.item(), "logits": logits.detach(), "grads": grads}


def stage3_logits(case: Case, recognizer: Recognizer, policy: GruActorCriticPolicy) -> Tensor:
    """Logits `(B, T, K)` of stage 3's forward pass, the classifier in evaluation mode."""
    config = recognizer.config
    grid = PatchGrid(case.grid_size, config.frame_size, config.patch_size)

    def choose(maps: Tensor, _: Chance) -> PatchChoice:
        return grid.choice(policy.evaluate_episodes(maps)[0].logits.argmax(dim=-1))

    with torch.no_grad():
        return ChosenPatchStage(recognizer, choose, 0.0)(_batch(case, recognizer))


def _batch(case: Case, recognizer: Recognizer) -> Batch:
    """The case's clips; their places in the middle of what its offsets stand for."""
    free = recognizer.config.frame_size - recognizer.config.patch_size
    places = (case.stage1_offsets + 0.5) / free
    nothing = torch.zeros(places.shape[:2])
    chance = Chance(places, nothing, nothing[:, 0])
    return Batch(case.frames, case.labels, chance, torch.arange(len(places)))
