"""Temporal shift, where it stands in the networks, and the recognizer that is made of them."""

import dataclasses
import json
import re

import pytest
import torch
from torch import nn

from adafocus_env.envs.factory import shipped_recognizer
from adafocus_env.networks import (
    AveragingClassifier,
    CheckpointError,
    FrozenNetworks,
    Recognizer,
    ShiftRecognizer,
    ShiftRecognizerConfig,
    TemporalShift,
    add_temporal_shift,
    build_backbone,
    load_recognizer,
    shift_channels,
)
from adafocus_env.networks.temporal_shift import unshifted_name


def _noise(count, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator).to(torch.uint8)


def test_the_first_eighth_comes_from_the_next_frame_and_the_second_from_the_previous():
    # Two clips of three frames; channel c of frame t of clip n is 100 n + 10 t + c.
    n, t, c = torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(8), indexing="ij")
    frames = (100 * n + 10 * t + c).float().view(6, 8, 1, 1)
    shifted = shift_channels(frames, 3).view(2, 3, 8)
    assert shifted[..., 0].tolist() == [[10, 20, 0], [110, 120, 0]]
    assert shifted[..., 1].tolist() == [[0, 1, 11], [0, 101, 111]]
    assert torch.equal(shifted[..., 2:], frames.view(2, 3, 8)[..., 2:])

    # The memory format and the input stay as they are.
    frames = torch.randn(4, 16, 5, 5).to(memory_format=torch.channels_last)
    before = frames.clone()
    assert shift_channels(frames, 2).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(frames, before)


def test_the_shift_stands_before_the_first_convolution_of_every_residual_block():
    def shifted(name):
        with torch.device("meta"):
            net = build_backbone(name, 5).net
        add_temporal_shift(net, 8)
        return [name for name, part in net.named_modules() if isinstance(part, TemporalShift)]

    blocks = [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    assert shifted("mobilenet_v2") == [f"features.{block}.conv.0.0" for block in blocks]
    assert len(shifted("resnet50")) == 16
    assert all(re.fullmatch(r"layer[1-4]\.\d\.conv1", name) for name in shifted("resnet50"))


def test_shifted_networks_take_the_weights_of_plain_ones_and_no_second_shift():
    for name in ("mobilenet_v2", "resnet50", "mobilenet_v2_small", "resnet_small"):
        with torch.device("meta"):
            plain, shifted = build_backbone(name, 5).net, build_backbone(name, 5).net
        add_temporal_shift(shifted, 4)
        shapes = {unshifted_name(key): value.shape for key, value in shifted.state_dict().items()}
        assert shapes == {key: value.shape for key, value in plain.state_dict().items()}
        with pytest.raises(ValueError, match="has temporal shift already"):
            add_temporal_shift(shifted, 4)
    with pytest.raises(ValueError, match="no place for temporal shift is known in a Linear"):
        add_temporal_shift(nn.Linear(2, 2), 4)


def test_the_published_networks_have_the_published_numbers_of_weights():
    with torch.device("meta"):
        recognizer = ShiftRecognizer(ShiftRecognizerConfig(tuple(map(str, range(174)))))

    def count(part):
        return sum(weight.numel() for weight in part.parameters())

    assert count(recognizer.glancer) == 2_446_766
    assert count(recognizer.focuser) - count(recognizer.focuser.class_head()) == 23_508_032
    assert count(recognizer.classifier) == 356_526


@torch.no_grad()
def test_without_shift_frames_are_seen_one_by_one(make_shift_recognizer):
    plain = make_shift_recognizer(temporal_shift=False)
    shifted = make_shift_recognizer()
    frames = _noise(8, 40)
    backwards = frames.flip(0)
    for recognizer, same in ((plain, True), (shifted, False)):
        one, other = recognizer.glance(frames)[1], recognizer.glance(backwards)[1].flip(0)
        assert torch.allclose(one, other, atol=1e-5) == same


@pytest.mark.parametrize("video_div", [1, 4])
@torch.no_grad()
def test_frozen_networks_see_what_the_recognizer_sees(
    make_shift_recognizer, video_div, monkeypatch
):
    # Small parts, so that several divisions and several parts are in play.
    monkeypatch.setattr("adafocus_env.networks.frozen._IMAGES_AT_ONCE", 5)
    monkeypatch.setattr("adafocus_env.networks.frozen._PIXELS_AT_ONCE", {"cpu": 1})
    recognizer = make_shift_recognizer(video_div=video_div)
    frozen = FrozenNetworks(recognizer)
    frames, patches = _noise(24, 40), _noise(36, 12, seed=1)
    offsets = torch.zeros(36, 2, dtype=torch.int64)
    for got, expected in zip(frozen.glance(frames), recognizer.glance(frames), strict=True):
        torch.testing.assert_close(got, expected, rtol=0.0, atol=1e-4)
    got = frozen.focus(patches, offsets, patch_size=12)
    torch.testing.assert_close(got, recognizer.focus(patches), rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("video_div", [2, 4])
@torch.no_grad()
def test_a_division_sees_no_patch_of_another(make_shift_recognizer, video_div):
    recognizer = make_shift_recognizer(video_div=video_div)
    count = 12 // video_div
    patches = _noise(12, 12)
    changed = torch.cat([_noise(count, 12, seed=1), patches[count:]])
    before, after = recognizer.focus(patches), recognizer.focus(changed)
    assert torch.equal(before[count:], after[count:])
    assert (before[:count] - after[:count]).abs().max() > 1e-2


def test_dividing_otherwise_shares_the_weights_and_must_come_out_even(make_shift_recognizer):
    whole = make_shift_recognizer()
    halves = whole.divided(2)
    assert (whole.config.video_div, halves.config.video_div) == (1, 2)
    assert (whole.focus_group, halves.focus_group, halves.glance_group) == (12, 6, 8)
    mine, theirs = whole.state_dict(), halves.state_dict()
    assert all(mine[name].data_ptr() == theirs[name].data_ptr() for name in mine)
    assert whole.divided(1) is whole
    built = ShiftRecognizer(halves.config).eval()
    built.load_state_dict(theirs)
    patches = _noise(12, 12)
    with torch.no_grad():
        assert torch.equal(halves.focus(patches), built.focus(patches))
        assert not torch.allclose(halves.focus(patches), whole.focus(patches), atol=1e-3)
    assert whole.focuser_fingerprint() != halves.focuser_fingerprint()
    assert whole.glancer_fingerprint() == halves.glancer_fingerprint()

    for video_div, name in ((3, "num_glance_frames=8"), (8, "num_frames=12")):
        with pytest.raises(ValueError, match=f"video_div={video_div} does not divide {name}"):
            whole.divided(video_div)


def test_logits_are_the_mean_over_patches_plus_the_mean_over_glances():
    classifier = AveragingClassifier(2, 1)
    with torch.no_grad():
        classifier.fc.weight.copy_(torch.tensor([[1.0, 10.0]]))
        classifier.fc.bias.fill_(0.5)
    patches = torch.tensor([[[1.0, 0.0], [3.0, 2.0]]])
    # (1 + 0.5 + 3 + 20 + 0.5) / 2
    assert classifier(patches).item() == 12.5
    assert classifier.after(patches.sum(dim=1), torch.tensor([[2.0]])).item() == 12.5


@torch.no_grad()
def test_steps_alternatives_sequences_and_clips_give_the_same_logits(make_shift_recognizer):
    recognizer = make_shift_recognizer(video_div=4)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 12, 128, generator=generator)
    glances = torch.rand(2, 8, 48, generator=generator)
    decisions = frames.view(2, 4, 3, 128).mean(dim=2)
    context = recognizer.glance_context(glances.view(2, 4, 96))
    torch.testing.assert_close(context[:, 3], recognizer.glance_logits(glances))
    logits, states = recognizer.classify_sequence(context, decisions)
    state = torch.zeros(2, 129)
    for step in range(4):
        each = recognizer.classify_each(context[:, step], decisions[:, step, None], state)
        one, state = recognizer.classify_step(context[:, step], decisions[:, step], state)
        torch.testing.assert_close(one, logits[:, step], rtol=0.0, atol=1e-5)
        torch.testing.assert_close(each[:, 0], one, rtol=0.0, atol=1e-5)
        torch.testing.assert_close(state, states[:, step], rtol=0.0, atol=1e-5)
    whole = recognizer.train_clips(recognizer.clip_features(glances, frames))
    torch.testing.assert_close(whole[:, 0], logits[:, -1], rtol=0.0, atol=1e-5)


def test_either_family_is_loaded_as_what_it_is(make_shift_recognizer, tmp_path):
    recognizer = make_shift_recognizer(video_div=2)
    recognizer.save(tmp_path)
    loaded = load_recognizer(tmp_path)
    assert isinstance(loaded, ShiftRecognizer)
    assert loaded.config == recognizer.config
    assert loaded.fingerprint() == recognizer.fingerprint()
    assert type(load_recognizer(shipped_recognizer())) is Recognizer
    with pytest.raises(CheckpointError, match="of the family temporal_shift, where one of"):
        Recognizer.load(tmp_path)
    file = tmp_path / "recognizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "family": "pooling"}))
    with pytest.raises(CheckpointError, match=r"recognizer.json: unknown family 'pooling'; known"):
        load_recognizer(tmp_path)


def test_what_decides_glances_enters_the_glancers_fingerprint(make_shift_recognizer):
    recognizer = make_shift_recognizer()
    config, before = recognizer.config, recognizer.glancer_fingerprint()
    for entries in ({"temporal_shift": False}, {"num_glance_frames": 4}):
        recognizer.config = dataclasses.replace(config, **entries)
        assert recognizer.glancer_fingerprint() != before
