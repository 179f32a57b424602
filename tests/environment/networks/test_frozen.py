"""FrozenNetworks: the recognizer's numbers from folded copies that are never out of date."""

import copy
import gc
import shutil
from functools import partial

import pytest
import torch
from torch import nn

from adafocus_env.envs.factory import make_core_from_parts, shipped_recognizer
from adafocus_env.features import EpisodeStart
from adafocus_env.networks import FrozenNetworks, Recognizer, crop_patches, freeze
from adafocus_env.networks import frozen as frozen_module


@pytest.fixture
def frames():
    """`(9, 3, 40, 40)` uint8."""
    blocks = torch.randint(0, 256, (9, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    return blocks.to(torch.uint8).repeat_interleave(8, -1).repeat_interleave(8, -2)


@pytest.fixture
def offsets():
    return torch.randint(0, 29, (9, 2), generator=torch.Generator().manual_seed(1))


def _close(got, expected):
    scale = expected.abs().max().item()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * max(1.0, scale))


def _assert_sees_the_same(frozen, recognizer, *at):
    frames, offsets = at
    with torch.no_grad():
        glances = recognizer.glance(frames)
        vectors = recognizer.focus(crop_patches(frames, offsets, 12))
    for got, expected in zip(frozen.glance(frames), glances, strict=True):
        _close(got, expected)
    _close(frozen.focus(frames, offsets), vectors)


def test_it_sees_what_the_recognizer_sees(tiny_recognizer, frames, offsets):
    frozen = FrozenNetworks(tiny_recognizer)
    _assert_sees_the_same(frozen, tiny_recognizer, frames, offsets)
    assert frozen.glance(frames)[0].dtype == torch.float32
    index = torch.tensor([3, 3, 0, 8])
    vectors = frozen.focus(frames, offsets[:4], patch_size=9, index=index)
    patches = crop_patches(frames[index], offsets[:4], 9)
    with torch.no_grad():
        _close(vectors, tiny_recognizer.focus(patches))


def test_it_sees_the_same_at_other_sizes_and_with_every_backbone(make_recognizer, frames, offsets):
    for entries in (
        {"glance_size": 40, "activation_cap": 0.5},
        {"glance_resize": "nearest"},
        {"glancer": "resnet_small", "focuser": "mobilenet_v2_small", "activation_cap": 6.0},
    ):
        recognizer = make_recognizer(**entries)
        _assert_sees_the_same(FrozenNetworks(recognizer), recognizer, frames, offsets)
    for network in _networks(FrozenNetworks(recognizer)):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _networks(frozen):
    return frozen._network("glancer"), frozen._network("focuser")


def test_the_recognizer_stays_as_it_was(make_recognizer, frames, offsets):
    recognizer = make_recognizer()
    recognizer.requires_grad_(True)
    recognizer.train()
    before = (recognizer.fingerprint(), list(recognizer.state_dict()))
    addresses = [tensor.data_ptr() for tensor in recognizer.state_dict().values()]
    frozen = FrozenNetworks(recognizer)
    frozen.glance(frames)
    assert not frozen.focus(frames, offsets).requires_grad
    assert (recognizer.fingerprint(), list(recognizer.state_dict())) == before
    assert [tensor.data_ptr() for tensor in recognizer.state_dict().values()] == addresses
    assert all(parameter.requires_grad for parameter in recognizer.parameters())
    assert all(module.training for module in recognizer.modules())


def _train(recognizer):
    parameters = [*recognizer.glancer.parameters(), *recognizer.focuser.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(parameters, lr=0.01).step()


def _see_in_training_mode(recognizer):
    recognizer.train()
    noise = torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8)
    recognizer.glance(noise)
    recognizer.focus(noise[..., :12, :12])
    recognizer.eval()


def _load_other_weights(recognizer, assign=False):
    state = recognizer.state_dict()
    other = {k: v * 1.01 if v.is_floating_point() else v for k, v in state.items()}
    recognizer.load_state_dict(other, assign=assign)


def _move_there_and_back(recognizer):
    recognizer.double()
    for tensor in recognizer.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1.01)
    recognizer.float()


@pytest.mark.parametrize(
    "change",
    [
        _train,
        _see_in_training_mode,
        _load_other_weights,
        partial(_load_other_weights, assign=True),
        _move_there_and_back,
    ],
    ids=["train", "training_mode", "load", "assign", "move"],
)
def test_it_is_never_out_of_date(make_recognizer, frames, offsets, change):
    recognizer = make_recognizer()
    frozen = FrozenNetworks(recognizer)
    before = (*frozen.glance(frames), frozen.focus(frames, offsets))
    change(recognizer)
    freeze(recognizer)
    _assert_sees_the_same(frozen, recognizer, frames, offsets)
    after = (*frozen.glance(frames), frozen.focus(frames, offsets))
    for one, other in zip(before, after, strict=True):
        assert not torch.allclose(one, other, rtol=0, atol=1e-4)


def test_weights_made_in_inference_mode_are_folded_too(make_recognizer, frames, offsets):
    with torch.inference_mode():
        recognizer = copy.deepcopy(make_recognizer())
        frozen = FrozenNetworks(recognizer)
        frozen.focus(frames, offsets)
        recognizer.focuser.net.conv1.weight.mul_(2.0)
        _assert_sees_the_same(frozen, recognizer, frames, offsets)


def test_frozen_forms_share_folded_copies_until_glancer_or_focuser_change_or_are_gone(
    make_recognizer,
):
    recognizer = make_recognizer()
    one, other = FrozenNetworks(recognizer), FrozenNetworks(recognizer)
    networks = _networks(one)
    assert _networks(other) == networks
    with torch.no_grad():
        recognizer.classifier.fc.bias.add_(1.0)
    assert _networks(one) == networks
    del networks
    gc.collect()
    count = len(frozen_module._FOLDED)
    del recognizer, one, other
    gc.collect()
    assert len(frozen_module._FOLDED) == count - 1


def test_no_part_is_below_sixteen_images_unless_there_are_fewer():
    for count, side, group, sizes in (
        (4, 224, 1, [4]),
        (31, 224, 1, [31]),
        (32, 224, 1, [16, 16]),
        (50, 128, 1, [16, 17, 17]),
        (1000, 32, 1, [333, 333, 334]),
        (60, 144, 12, [24, 36]),
        (18, 144, 3, [18]),
    ):
        parts = list(frozen_module._parts(count, side, torch.device("cpu"), group))
        assert [part.stop - part.start for part in parts] == sizes
        assert (parts[0].start, parts[-1].stop) == (0, count)


def _shipped_rewards(make_videos, device="cpu", **rules):
    recognizer = Recognizer.load(shipped_recognizer(), device=device)
    videos = make_videos(8, num_classes=10, num_frames=8, frame_size=112)
    videos.class_names = recognizer.config.class_names
    core = make_core_from_parts(recognizer, videos, num_rows=8, **rules)
    core.reset_rows(range(8), [EpisodeStart(row, row) for row in range(8)])
    actions = torch.randint(0, 49, (8, 8), generator=torch.Generator().manual_seed(3))
    return core.play(actions).rewards


def test_rewards_of_the_shipped_recognizer_equal_the_unfolded_networks_and_bf16_nearly(
    make_videos, monkeypatch
):
    folded = _shipped_rewards(make_videos)
    assert folded.abs().max() > 0.1
    in_bf16 = _shipped_rewards(make_videos, amp="bf16")
    assert 0 < (in_bf16 - folded).abs().max() < 0.05

    def glance(self, frames):
        return self.recognizer.glance(frames)

    def focus(self, frames, offsets, *, patch_size, index, focus_size=None):
        return self.recognizer.focus(crop_patches(frames, offsets, patch_size, index=index))

    monkeypatch.setattr(FrozenNetworks, "glance", glance)
    monkeypatch.setattr(FrozenNetworks, "focus", focus)
    torch.testing.assert_close(folded, _shipped_rewards(make_videos), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_compiled_networks_see_what_the_recognizer_sees(tiny_recognizer, frames, offsets):
    frozen = FrozenNetworks(tiny_recognizer, compile=True)
    with torch.no_grad():  # the smaller of the two: a compilation takes its time
        expected = tiny_recognizer.focus(crop_patches(frames, offsets, 12))
    _close(frozen.focus(frames, offsets), expected)


@pytest.mark.gpu
@pytest.mark.parametrize(("amp", "tolerance"), [("none", 1e-5), ("bf16", 0.05), ("fp16", 0.05)])
def test_rewards_on_a_gpu_are_within_their_tolerance_of_the_cpus(make_videos, amp, tolerance):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    expected = _shipped_rewards(make_videos)
    got = _shipped_rewards(make_videos, device="cuda", amp=amp)
    torch.testing.assert_close(got.cpu(), expected, rtol=0, atol=tolerance)


def test_bad_precisions_are_refused(tiny_recognizer):
    with pytest.raises(ValueError, match="amp is 'none', 'bf16', 'fp16', not 'half'"):
        FrozenNetworks(tiny_recognizer, amp="half")
    with pytest.raises(ValueError, match="needs a GPU; use 'none' or 'bf16' on a CPU"):
        FrozenNetworks(tiny_recognizer, amp="fp16")
