"""Stages 0, 1 and 3 of recognizers with temporal shift (PUBLISHED.md, Networks and Stages)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import train.stages.stage1_random_patches as stage1
from adafocus_env.envs import PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.networks import ShiftRecognizer
from train.config.keys import ConfigError
from train.runs.processes import Processes
from train.stages.stage0_backbones import BackboneStage
from train.stages.stage1_random_patches import RandomPatchStage
from train.stages.stage3_classifier import ChosenPatchStage, choose_patches
from train.stages.supervised.data import Batch, Chance
from train.stages.supervised.loop import train_one_epoch
from train.stages.supervised.optim import make_optimizer, make_scheduler

GRID = PatchGrid(4, 40, 12)
PARTS = ("glancer", "focuser", "classifier")
SGD = ("optimizer=sgd", "lr_type=cos", "device=cpu")
DRAWS = np.random.default_rng(0)
CHANCE = Chance(*(torch.from_numpy(DRAWS.random(s)) for s in ((5, 12, 2), (5, 12), (5,))))


@pytest.fixture
def recognizer(make_shift_recognizer):
    """New weights that can be trained: 8 glances, 12 frames of 40 pixels, patches of 12."""
    torch.manual_seed(0)
    return ShiftRecognizer(make_shift_recognizer().config)


@pytest.fixture
def batch(make_videos):
    """Five clips of blocks."""
    videos = make_videos(5, num_frames=12, num_glance_frames=8)
    clips = [videos.clip(index, index) for index in range(5)]
    return Batch(
        torch.stack([clip.frames for clip in clips]),
        torch.tensor([clip.label for clip in clips]),
        CHANCE,
        torch.arange(5),
        torch.stack([clip.glance_frames for clip in clips]),
    )


def _make_stage(name, recognizer):
    if name.startswith("stage 0"):
        return BackboneStage(recognizer, name.split()[-1], 0.05, None)
    if name == "stage 1":
        return RandomPatchStage(recognizer, 0.05, 0.05)
    return ChosenPatchStage(recognizer, choose_patches("center", GRID, recognizer), 0.05)


def _logits(stage, batch):
    return stage(batch)


@pytest.fixture
def train(make_config):
    """One step of stochastic gradient descent on a batch."""
    config = make_config("stage1", *SGD)

    def step(stage, batch):
        optimizer = make_optimizer(stage.trained, config)
        scheduler = make_scheduler(optimizer, config, 1, 1)
        model = _Wrapped(stage)
        train_one_epoch(stage, model, iter([batch]), optimizer, scheduler, Processes(config))

    return step


class _Wrapped(nn.Module):
    """As Accelerate calls a stage."""

    def __init__(self, stage):
        super().__init__()
        self.stage = stage

    def forward(self, batch):
        return self.stage(batch)


# --- what trains ---


@pytest.mark.parametrize("name", ["stage 0 glancer", "stage 0 focuser", "stage 1", "stage 3"])
def test_what_trains_changes_to_the_last_weight_and_nothing_else_does(
    recognizer, batch, train, name
):
    """The published code changes one convolution in stage 1 and nothing in stage 3."""
    stage = _make_stage(name, recognizer)
    before = {key: value.clone() for key, value in recognizer.state_dict().items()}
    train(stage, batch)
    after = recognizer.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    expected = {
        "stage 0 glancer": [key for key in before if key.startswith("glancer.")],
        "stage 0 focuser": [key for key in before if key.startswith("focuser.")],
        "stage 1": [
            key
            for key in before
            if key.startswith(("focuser.", "classifier.")) and ".net.fc." not in key
        ],
        "stage 3": ["classifier.fc.weight", "classifier.fc.bias"],
    }[name]
    assert changed == set(expected)


@pytest.mark.parametrize(
    ("name", "norms"),
    [
        ("stage 0 glancer", {"glancer": True}),
        ("stage 0 focuser", {"focuser": True}),
        ("stage 1", {"glancer": False, "focuser": True}),
        ("stage 3", {}),  # glancer and focuser see through folded copies
    ],
)
def test_modes_of_the_norms_while_training(recognizer, batch, train, name, norms):
    seen = {}
    for part in PARTS:
        for module in recognizer.get_submodule(part).modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(
                    lambda norm, _, __, part=part: seen.setdefault(part, set()).add(norm.training)
                )
    train(_make_stage(name, recognizer), batch)
    assert seen == {part: {mode} for part, mode in norms.items()}


@pytest.mark.parametrize("name", ["stage 0 glancer", "stage 0 focuser", "stage 1", "stage 3"])
def test_dropout_acts_while_training_only(recognizer, batch, name):
    stage = _make_stage(name, recognizer)
    stage.set_training(False)
    assert torch.equal(_logits(stage, batch), _logits(stage, batch))
    stage.set_training(True)
    assert not torch.allclose(_logits(stage, batch), _logits(stage, batch), atol=1e-4)


def test_each_part_has_its_own_learning_rate(recognizer, make_config):
    stage = RandomPatchStage(recognizer, backbone_lr=1e-5, fc_lr=0.01)
    groups = make_optimizer(stage.trained, make_config("stage1", *SGD)).param_groups
    assert [group["lr"] for group in groups] == [1e-5, 0.01]
    of_focuser, of_classifier = (group["params"] for group in groups)
    assert {id(p) for p in of_focuser} == {id(p) for p in recognizer.focuser.parameters()}
    assert {id(p) for p in of_classifier} == {id(p) for p in recognizer.classifier.parameters()}


def test_gradients_are_cut_to_a_length(recognizer, batch, make_config):
    config = make_config("stage1", *SGD, "momentum=0", "weight_decay=0")
    moved = []
    for longest in (1e-3, None):
        stage = _make_stage("stage 0 glancer", recognizer)
        before = [weight.detach().clone() for weight in recognizer.glancer.parameters()]
        optimizer = make_optimizer(stage.trained, config)
        scheduler = make_scheduler(optimizer, config, 1, 1)
        parts = (stage, _Wrapped(stage), iter([batch]), optimizer, scheduler)
        train_one_epoch(*parts, Processes(config), max_grad_norm=longest)
        after = recognizer.glancer.parameters()
        steps = [(new.detach() - old).flatten() for new, old in zip(after, before, strict=True)]
        moved.append(float(torch.cat(steps).norm()))
    assert moved[0] == pytest.approx(0.05 * 1e-3, rel=1e-3)  # the learning rate times the length
    assert moved[1] > 10 * moved[0]


# --- what they compute ---


def test_stage_0_sees_all_frames_that_the_shift_connects_of_each_parts_own(recognizer, batch):
    for part, frames in (("glancer", 8), ("focuser", 12)):
        stage = _make_stage(f"stage 0 {part}", recognizer)
        stage.set_training(False)
        logits = _logits(stage, batch)
        assert logits.shape == (5, frames, 3)
        dark = Batch(
            torch.zeros_like(batch.frames) if part == "glancer" else batch.frames,
            *(batch.labels, batch.chance, batch.indices),
            batch.glance_frames if part == "glancer" else torch.zeros_like(batch.frames[:, :8]),
        )
        assert torch.equal(_logits(stage, dark), logits)
    with pytest.raises(ConfigError, match=r"shift over 12 frames .* set focuser_frames=null"):
        BackboneStage(recognizer, "focuser", 0.05, 4)


@pytest.mark.parametrize(("video_div", "places"), [(1, [(14, 7)] * 12), (2, None)])
def test_the_frames_of_a_division_share_one_random_place(
    recognizer, batch, monkeypatch, video_div, places
):
    cut = []

    def keep(frames, offsets, patch_size):
        cut.append(offsets)
        return frames[..., :patch_size, :patch_size]

    monkeypatch.setattr(stage1, "crop_patches", keep)
    stage = RandomPatchStage(recognizer.divided(video_div), 0.05, 0.05)
    drawn = batch.chance.places.clone()
    # 40 - 12 = 28 offsets: 0.5 -> 14, 0.25 -> 7, 0.99 -> 27, the last but one.
    drawn[:, 0] = torch.tensor([0.5, 0.25])
    drawn[:, 6] = torch.tensor([0.99, 0.0])
    stage(replace(batch, chance=replace(batch.chance, places=drawn)))
    (offsets,) = cut
    expected = places or [(14, 7)] * 6 + [(27, 0)] * 6
    assert [tuple(pair) for pair in offsets[:12].tolist()] == expected


def test_stage_1_has_the_cross_entropy_of_the_summed_mean_logits(recognizer, batch):
    stage = RandomPatchStage(recognizer, 0.05, 0.05)
    stage.set_training(False)
    logits = _logits(stage, batch)
    assert logits.shape == (5, 1, 3)
    assert batch.glance_frames is not None
    with torch.no_grad():
        _, vectors = recognizer.glance(batch.glance_frames.flatten(0, 1))
        glances = recognizer.glancer.class_head()(vectors).view(5, 8, 3).mean(dim=1)
    focused = logits[:, 0] - glances
    for clip in range(5):
        top, left = (batch.chance.places[clip, 0] * 28).long().tolist()
        patches = batch.frames[clip, :, :, top : top + 12, left : left + 12]
        each = recognizer.classifier.fc(recognizer.focus(patches))
        torch.testing.assert_close(focused[clip], each.mean(dim=0), rtol=0.0, atol=1e-5)
    loss = stage.loss(logits, batch.labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits[:, 0], batch.labels))
    assert torch.equal(stage.final(logits), logits[:, 0])


@pytest.mark.parametrize("video_div", [1, 2])
def test_stage_3_sees_what_the_environment_shows(make_shift_recognizer, make_videos, video_div):
    recognizer = make_shift_recognizer(video_div=video_div)
    videos = make_videos(4, num_frames=12, num_glance_frames=8)
    env = PatchLocalizationVectorEnv.from_parts(recognizer, videos, num_envs=4, grid_size=4)
    env.reset(seed=0, options={"video_index": np.arange(4), "episode_seed": np.arange(4)})
    played = env.play(np.full((4, video_div), GRID.center_action))
    clips = [videos.clip(index, index) for index in range(4)]
    stage = ChosenPatchStage(recognizer, choose_patches("center", GRID, recognizer), fc_lr=0.05)
    stage.set_training(False)
    chance = Chance(torch.zeros(4, 12, 2), torch.zeros(4, 12), torch.zeros(4))
    frames = torch.stack([clip.frames for clip in clips])
    seen = torch.stack([clip.glance_frames for clip in clips])
    logits = stage(Batch(frames, torch.zeros(4), chance, torch.arange(4), seen))
    torch.testing.assert_close(logits[:, 0], played.logits[:, -1], rtol=0.0, atol=1e-5)
