"""The published networks at full size, with random weights (PUBLISHED.md, Networks and Costs)."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adafocus_env.networks import Recognizer, RecognizerConfig, freeze

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published():
    """ActivityNet's recognizer: 200 classes, 224 pixels, patches of 128."""
    recognizer = Recognizer(RecognizerConfig(tuple(f"class {k}" for k in range(200))))
    freeze(recognizer)
    return recognizer


def test_parts_have_the_published_parameters_names_and_shapes(published):
    def sizes(part):
        module = published.get_submodule(part)
        return sum(p.numel() for p in module.parameters()), len(module.state_dict())

    assert sizes("glancer") == (2_480_072, 314)
    assert sizes("focuser") == (23_917_832, 320)
    assert sizes("classifier") == (13_580_488, 6)
    state = published.state_dict()
    for name, shape in (
        ("glancer.net.features.0.0.weight", (32, 3, 3, 3)),
        ("glancer.net.classifier.1.weight", (200, 1280)),
        ("focuser.net.fc.weight", (200, 2048)),
        ("classifier.gru.weight_ih_l0", (3072, 3328)),
        ("classifier.gru.weight_hh_l0", (3072, 1024)),
        ("classifier.fc.weight", (200, 1024)),
    ):
        assert state[name].shape == shape
    assert published.map_shape() == (1280, 7, 7)


def test_one_frame_costs_the_published_multiply_adds(published):
    def gigamacs(call, *arguments):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call(*arguments)
        return counter.get_total_flops() / 2e9

    frame, patch = (torch.zeros(1, 3, side, side, dtype=torch.uint8) for side in (224, 128))
    assert gigamacs(published.glance, frame) == pytest.approx(0.299494, rel=1e-4)
    assert gigamacs(published.focus, patch) == pytest.approx(1.334575, rel=1e-4)
    state = (torch.zeros(1, size) for size in (1280, 2048, 1024))
    assert gigamacs(published.classify_step, *state) == pytest.approx(0.013574, rel=1e-4)
