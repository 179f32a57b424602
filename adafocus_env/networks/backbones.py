"""The convolutional networks by name, all of torchvision's parts; three are for built-in tasks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import Conv2dNormActivation

from adafocus_env.networks.backbone import Backbone
from adafocus_env.networks.other_backbones import build_other, is_other


def build_backbone(name: str, num_classes: int) -> Backbone:
    """Build a network with new weights.

    Args:
        name: one of `BACKBONES`, `timm:NAME`, or `package.module:Class`; see `other_backbones`.
        num_classes: K, width of the classification head.

    Raises:
        ValueError: unknown name, or a network that cannot be used.
    """
    if is_other(name):
        return build_other(name, num_classes)
    if name not in BACKBONES:
        raise ValueError(
            f"unknown backbone {name!r}; known are {', '.join(BACKBONES)}, "
            "timm:NAME and package.module:Class"
        )
    return BACKBONES[name](num_classes)


def _mobilenet_v2(num_classes: int) -> Backbone:
    """MobileNetV2 at width 1: C = 1280, ends in ReLU6."""
    net = mobilenet_v2(num_classes=num_classes)
    return Backbone(net, _mobilenet_map, net.last_channel, feature_bound=6.0)


def _mobilenet_v2_small(num_classes: int) -> Backbone:
    """MobileNetV2 of four stages and 48 channels, stride 4: 28x28 frames give a 7x7 map."""
    settings = [[1, 16, 1, 1], [4, 24, 2, 2], [4, 32, 2, 1], [4, 48, 1, 1]]
    net = MobileNetV2(num_classes=num_classes, inverted_residual_setting=settings)
    # The last 1x1 convolution, 1280 wide in torchvision, is kept at 48; it bounds the map by 6.
    net.features[-1] = Conv2dNormActivation(48, 48, kernel_size=1, activation_layer=nn.ReLU6)
    net.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(48, num_classes))
    return Backbone(net, _mobilenet_map, 48, feature_bound=6.0)


class _Plain(nn.Module):
    """Three convolutions without padding, then a linear layer on the mean of the map."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.features = nn.Sequential(
            Conv2dNormActivation(3, 32, kernel_size=2, stride=2, padding=0),
            Conv2dNormActivation(32, 64, kernel_size=2, stride=2, padding=0),
            Conv2dNormActivation(64, 32, kernel_size=1, activation_layer=nn.ReLU6),
        )
        self.fc = nn.Linear(32, num_classes)

    def forward(self, frames: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(frames).mean(dim=(2, 3)))
        return logits


def _plain_small(num_classes: int) -> Backbone:
    """32 channels, stride 4: each cell sees 4x4 pixels and nothing beyond them.

    So it learns from single cells what it will see in whole frames.
    """
    return Backbone(_Plain(num_classes), _plain_map, 32, feature_bound=6.0)


def _resnet50(num_classes: int) -> Backbone:
    """ResNet-50: 2048 features, unbounded."""
    net = resnet50(num_classes=num_classes)
    return Backbone(net, _resnet_map, 2048, feature_bound=None)


def _resnet_small(num_classes: int) -> Backbone:
    """Four basic blocks from width 16, a stride-2 3x3 stem, no max-pooling: 128 features."""
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
    net.inplanes = 16
    net.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=2, padding=1, bias=False)
    net.bn1 = nn.BatchNorm2d(16)
    net.maxpool = nn.Identity()
    for stage in range(4):
        layer = net._make_layer(BasicBlock, 16 * 2**stage, 1, stride=1 if stage == 0 else 2)
        setattr(net, f"layer{stage + 1}", layer)
    net.fc = nn.Linear(128, num_classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Backbone(net, _resnet_map, 128, feature_bound=None)


def _mobilenet_map(net: nn.Module, frames: Tensor) -> Tensor:
    assert isinstance(net, MobileNetV2)
    feature_map: Tensor = net.features(frames)
    return feature_map


def _plain_map(net: nn.Module, frames: Tensor) -> Tensor:
    assert isinstance(net, _Plain)
    feature_map: Tensor = net.features(frames)
    return feature_map


def _resnet_map(net: nn.Module, frames: Tensor) -> Tensor:
    assert isinstance(net, ResNet)
    x = net.maxpool(net.relu(net.bn1(net.conv1(frames))))
    feature_map: Tensor = net.layer4(net.layer3(net.layer2(net.layer1(x))))
    return feature_map


BACKBONES: dict[str, Callable[[int], Backbone]] = {
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v2_small": _mobilenet_v2_small,
    "plain_small": _plain_small,
    "resnet50": _resnet50,
    "resnet_small": _resnet_small,
}
