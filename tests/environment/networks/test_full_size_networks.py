"""The published networks at full size, with random weights (REFERENCE sections 1A, 8 and 9)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.utils.flop_counter import FlopCounterMode

from adafocus_env.envs import PatchLocalizationEnv
from adafocus_env.networks import Recognizer, RecognizerConfig, freeze

CLASS_NAMES = tuple(f"class {k}" for k in range(200))


@pytest.fixture(scope="module")
def published():
    """ActivityNet's recognizer: 200 classes, 224 pixels, patches of 128."""
    recognizer = Recognizer(RecognizerConfig(CLASS_NAMES))
    freeze(recognizer)
    return recognizer


@pytest.mark.parametrize(
    ("part", "parameters", "entries"),
    [("glancer", 2_480_072, 314), ("focuser", 23_917_832, 320), ("classifier", 13_580_488, 6)],
)
def test_parts_have_the_published_parameters(published, part, parameters, entries):
    module = published.get_submodule(part)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert len(module.state_dict()) == entries


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("glancer.net.features.0.0.weight", (32, 3, 3, 3)),
        ("glancer.net.classifier.1.weight", (200, 1280)),
        ("focuser.net.fc.weight", (200, 2048)),
        ("classifier.gru.weight_ih_l0", (3072, 3328)),
        ("classifier.gru.weight_hh_l0", (3072, 1024)),
        ("classifier.fc.weight", (200, 1024)),
    ],
)
def test_weights_have_the_published_names_and_shapes(published, name, shape):
    assert published.state_dict()[name].shape == shape


def test_glance_map_of_a_224_frame_is_1280_by_7_by_7(published):
    assert published.map_shape() == (1280, 7, 7)


@pytest.mark.parametrize(
    ("what", "gigamacs"), [("glance", 0.299494), ("focus", 1.334575), ("classify", 0.013574)]
)
def test_one_frame_costs_the_published_multiply_adds(published, what, gigamacs):
    pixels: Callable[[int], Any] = lambda side: torch.zeros(1, 3, side, side, dtype=torch.uint8)  # noqa: E731
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if what == "glance":
            published.glance(pixels(224))
        elif what == "focus":
            published.focus(pixels(128))
        else:
            published.classify_step(
                torch.zeros(1, 1280), torch.zeros(1, 2048), torch.zeros(1, 1024)
            )
    assert counter.get_total_flops() / 2e9 == pytest.approx(gigamacs, rel=1e-4)


def test_environment_steps_at_the_published_size(published, make_videos):
    videos = make_videos(1, num_classes=200, num_frames=16, frame_size=224)
    env = PatchLocalizationEnv.from_parts(published, videos)
    assert env.observation_space.shape == (1280, 7, 7)
    assert env.action_space == spaces.Discrete(49)
    assert env.num_decisions == 16
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    observation, reward, terminated, _, info = env.step(40)
    assert env.observation_space.contains(observation)
    assert np.isfinite(reward)
    assert not terminated
    assert info["patch_box"].tolist() == [80, 80, 128, 128]  # row 5, column 5
