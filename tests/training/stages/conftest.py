"""What tests of single stages share: a stage by name, one step, the modes of layers."""

import pytest
import torch
from torch import nn

from adafocus_env.envs import PatchGrid
from train.runs.processes import Processes
from train.stages.chosen_patches import ChosenPatchStage, choose_patches
from train.stages.stage0_backbones import BackboneStage
from train.stages.stage1_random_patches import RandomPatchStage
from train.stages.supervised.data import Batch
from train.stages.supervised.loop import train_one_epoch
from train.stages.supervised.optim import make_optimizer, make_scheduler


@pytest.fixture
def make_stage():
    """Makes `stage 0 PART`, `stage 1` or `stage 3`, which looks at the center, at rates of 0.05."""

    def make(name, recognizer):
        if name.startswith("stage 0"):
            return BackboneStage(recognizer, name.split()[-1], 0.05, None)
        if name == "stage 1":
            return RandomPatchStage(recognizer, 0.05, 0.05)
        choose = choose_patches("center", PatchGrid(4, 40, 12), recognizer)
        return ChosenPatchStage(recognizer, choose, 0.05)

    return make


@pytest.fixture
def make_batch():
    """Makes a batch of the first clips of some videos."""

    def make(videos, chance):
        clips = [videos.clip(index, index) for index in range(len(videos))]
        frames = torch.stack([clip.frames for clip in clips])
        labels = torch.tensor([clip.label for clip in clips])
        seen = [clip.glance_frames for clip in clips]
        glances = None if seen[0] is None else torch.stack(seen)
        return Batch(frames, labels, chance, torch.arange(len(videos)), glances)

    return make


@pytest.fixture
def take_step(make_config):
    """Takes one step of stochastic gradient descent on a batch."""

    def step(stage, batch, *overrides, **how):
        config = make_config("stage1", "optimizer=sgd", "lr_type=cos", "device=cpu", *overrides)
        optimizer = make_optimizer(stage.trained, config)
        scheduler = make_scheduler(optimizer, config, 1, 1)
        train_one_epoch(stage, stage, iter([batch]), optimizer, scheduler, Processes(config), **how)

    return step


@pytest.fixture
def note_modes():
    """Notes modes of BatchNorm and Dropout, and gradients, per part while they run."""

    def note(recognizer):
        norm, dropout, gradients = {}, {}, {}
        kinds = {nn.BatchNorm2d: norm, nn.Dropout: dropout}

        def hook(kind, part):
            def noted(module, _, output):
                kind.setdefault(part, set()).add(module.training)
                gradients.setdefault(part, set()).add(output.requires_grad)

            return noted

        for part in ("glancer", "focuser", "classifier"):
            for module in recognizer.get_submodule(part).modules():
                if type(module) in kinds:
                    module.register_forward_hook(hook(kinds[type(module)], part))
        return norm, dropout, gradients

    return note
