"""Backbones, glancer and focuser; the published sizes are in test_full_size_networks.py."""

import pytest
import torch
from torch import nn

from adafocus_env.networks import Focuser, Glancer, build_backbone, freeze


@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("mobilenet_v2", 32, (1280, 1, 1)),  # stride 32
        ("mobilenet_v2_small", 28, (48, 7, 7)),  # stride 4
        ("mobilenet_v2_small", 32, (48, 8, 8)),
        ("plain_small", 28, (32, 7, 7)),  # stride 4
        ("plain_small", 4, (32, 1, 1)),
        ("resnet50", 32, (2048, 1, 1)),  # stride 32
        ("resnet_small", 32, (128, 2, 2)),  # stride 16
    ],
)
def test_frozen_backbones_give_maps_of_their_channels_and_stride_and_name_the_classes(
    name, side, shape
):
    backbone = build_backbone(name, num_classes=5)
    freeze(backbone.net.train())
    assert not any(parameter.requires_grad for parameter in backbone.net.parameters())
    assert not any(module.training for module in backbone.net.modules())
    frames = torch.zeros(2, 3, side, side)
    assert backbone.feature_map(backbone.net, frames).shape == (2, *shape)
    assert backbone.num_channels == shape[0]
    assert backbone.net(frames).shape == (2, 5)


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "mobilenet_v2_small", "plain_small", "resnet_small"]
)
def test_feature_maps_keep_their_bounds(name):
    backbone = build_backbone(name, num_classes=5)
    torch.nn.init.constant_(_last_norm(backbone.net).weight, 100.0)
    with torch.no_grad():  # in training mode: BatchNorm gives the values that size
        frames = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        feature_map = backbone.feature_map(backbone.net.train(), frames)
    assert feature_map.min() == 0
    assert (feature_map.max() == 6) if backbone.feature_bound == 6.0 else feature_map.max() > 6


def test_a_cell_of_the_plain_networks_map_sees_its_own_pixels_alone():
    """So it may be trained on single cells."""
    backbone = build_backbone("plain_small", num_classes=2)
    frames = torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net = backbone.net.eval()
        whole = backbone.feature_map(net, frames)
        cell = backbone.feature_map(net, frames[:, :, 8:12, 20:24])
    torch.testing.assert_close(whole[:, :, 2:3, 5:6], cell)


def _last_norm(net):
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)][-1]


def test_an_unknown_backbone_is_refused_and_an_unbounded_glancer_without_a_cap():
    with pytest.raises(ValueError, match="unknown backbone 'vgg'; known are mobilenet_v2, "):
        build_backbone("vgg", 5)
    for name in ("resnet50", "resnet_small"):
        with pytest.raises(ValueError, match=r"unbounded features.*set activation_cap"):
            Glancer(name, 5)


@pytest.mark.parametrize(
    ("name", "cap", "bound"), [("mobilenet_v2_small", None, 6.0), ("resnet_small", 0.5, 0.5)]
)
def test_glance_maps_lie_within_the_bound_and_the_vector_is_their_mean(name, cap, bound):
    glancer = Glancer(name, 5, activation_cap=cap)
    assert glancer.map_bound == bound
    nn.init.constant_(_last_norm(glancer.net).weight, 100.0)
    frames = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        glance_map, glance_vector = glancer.train().glance(frames)
    assert glance_map.min() == 0
    assert glance_map.max() == bound
    torch.testing.assert_close(
        glance_vector, glance_map.flatten(2).sum(2) / glance_map[0, 0].numel()
    )


def test_focuser_pools_the_map_that_its_head_sees():
    focuser = Focuser("resnet_small", 5).eval()
    patches = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vectors = focuser.focus(patches)
        assert vectors.shape == (2, focuser.num_features) == (2, 128)
        torch.testing.assert_close(focuser(patches), focuser.net.get_submodule("fc")(vectors))
