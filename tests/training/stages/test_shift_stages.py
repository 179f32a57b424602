"""Stages 0, 1 and 3 of recognizers with temporal shift (PUBLISHED.md, Networks and Stages)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import train.stages.stage1_random_patches as stage1
from adafocus_env.envs import PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.networks import ShiftRecognizer
from train.config.keys import ConfigError
from train.stages.stage0_backbones import BackboneStage
from train.stages.stage1_random_patches import RandomPatchStage
from train.stages.supervised.data import Chance
from train.stages.supervised.optim import make_optimizer

GRID = PatchGrid(4, 40, 12)
DRAWS = np.random.default_rng(0)
CHANCE = Chance(*(torch.from_numpy(DRAWS.random(s)) for s in ((5, 12, 2), (5, 12), (5,))))


@pytest.fixture
def recognizer(make_shift_recognizer):
    """New weights that can be trained: 8 glances, 12 frames of 40 pixels, patches of 12."""
    torch.manual_seed(0)
    return ShiftRecognizer(make_shift_recognizer().config)


@pytest.fixture
def batch(make_videos, make_batch):
    """Five clips of blocks."""
    return make_batch(make_videos(5, num_frames=12, num_glance_frames=8), CHANCE)


@pytest.mark.parametrize(
    ("name", "parts", "norms"),
    [
        ("stage 0 glancer", "glancer.", {"glancer": True}),
        ("stage 0 focuser", "focuser.", {"focuser": True}),
        ("stage 1", ("focuser.", "classifier."), {"glancer": False, "focuser": True}),
        ("stage 3", "classifier.", {}),  # glancer and focuser see through folded copies
    ],
)
def test_what_trains_changes_to_the_last_weight_and_nothing_else_does(
    recognizer, batch, make_stage, take_step, note_modes, changed, name, parts, norms
):
    """The published code changes one convolution in stage 1 and nothing in stage 3."""
    stage = make_stage(name, recognizer)
    before = {key: value.clone() for key, value in recognizer.state_dict().items()}
    modes, _, _ = note_modes(recognizer)
    take_step(stage, batch)
    expected = {key for key in before if key.startswith(parts)}
    if name == "stage 1":  # has no use for the focuser's own head
        expected -= {"focuser.net.fc.weight", "focuser.net.fc.bias"}
    assert changed(before, recognizer) == expected
    assert modes == {part: {mode} for part, mode in norms.items()}


@pytest.mark.parametrize("name", ["stage 0 glancer", "stage 0 focuser", "stage 1", "stage 3"])
def test_dropout_acts_while_training_only(recognizer, batch, make_stage, name):
    stage = make_stage(name, recognizer)
    stage.set_training(False)
    assert torch.equal(stage(batch), stage(batch))
    stage.set_training(True)
    assert not torch.allclose(stage(batch), stage(batch), atol=1e-4)


def test_each_part_has_its_own_learning_rate(recognizer, make_config):
    stage = RandomPatchStage(recognizer, backbone_lr=1e-5, fc_lr=0.01)
    config = make_config("stage1", "optimizer=sgd", "lr_type=cos", "device=cpu")
    groups = make_optimizer(stage.trained, config).param_groups
    assert [group["lr"] for group in groups] == [1e-5, 0.01]
    of_focuser, of_classifier = (group["params"] for group in groups)
    assert {id(p) for p in of_focuser} == {id(p) for p in recognizer.focuser.parameters()}
    assert {id(p) for p in of_classifier} == {id(p) for p in recognizer.classifier.parameters()}


def test_gradients_are_cut_to_a_length(recognizer, batch, make_stage, take_step):
    moved = []
    for longest in (1e-3, None):
        stage = make_stage("stage 0 glancer", recognizer)
        before = [weight.detach().clone() for weight in recognizer.glancer.parameters()]
        take_step(stage, batch, "momentum=0", "weight_decay=0", max_grad_norm=longest)
        after = recognizer.glancer.parameters()
        steps = [(new.detach() - old).flatten() for new, old in zip(after, before, strict=True)]
        moved.append(float(torch.cat(steps).norm()))
    assert moved[0] == pytest.approx(0.05 * 1e-3, rel=1e-3)  # the learning rate times the length
    assert moved[1] > 10 * moved[0]


def test_stage_0_sees_all_frames_that_the_shift_connects_of_each_parts_own(
    recognizer, batch, make_stage
):
    for part, frames in (("glancer", 8), ("focuser", 12)):
        stage = make_stage(f"stage 0 {part}", recognizer)
        stage.set_training(False)
        logits = stage(batch)
        assert logits.shape == (5, frames, 3)
        others = "frames" if part == "glancer" else "glance_frames"
        dark = replace(batch, **{others: torch.zeros_like(getattr(batch, others))})
        assert torch.equal(stage(dark), logits)
    with pytest.raises(ConfigError, match=r"shift over 12 frames .* set focuser_frames=null"):
        BackboneStage(recognizer, "focuser", 0.05, 4)


@pytest.mark.parametrize(("video_div", "places"), [(1, [(14, 7)] * 12), (2, None)])
def test_the_frames_of_a_division_share_one_random_place(
    recognizer, batch, monkeypatch, video_div, places
):
    cut = []

    def keep(frames, offsets, patch_size, *, index):
        cut.append(offsets)
        return frames[index, :, :patch_size, :patch_size]

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
    logits = stage(batch)
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
def test_stage_3_sees_what_the_environment_shows(
    make_shift_recognizer, make_videos, make_batch, make_stage, video_div
):
    recognizer = make_shift_recognizer(video_div=video_div)
    videos = make_videos(4, num_frames=12, num_glance_frames=8)
    env = PatchLocalizationVectorEnv.from_parts(recognizer, videos, num_envs=4, grid_size=4)
    env.reset(seed=0, options={"video_index": np.arange(4), "episode_seed": np.arange(4)})
    played = env.play(np.full((4, video_div), GRID.center_action))
    stage = make_stage("stage 3", recognizer)
    stage.set_training(False)
    chance = Chance(torch.zeros(4, 12, 2), torch.zeros(4, 12), torch.zeros(4))
    logits = stage(make_batch(videos, chance))
    torch.testing.assert_close(logits[:, 0], played.logits[:, -1], rtol=0.0, atol=1e-5)
