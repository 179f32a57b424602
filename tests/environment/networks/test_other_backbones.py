"""Backbones of timm and of one's own: found by a trial pass, imported only where trusted."""

import sys

import pytest
import torch
from torch import nn

from adafocus_env import trusted_imports
from adafocus_env.networks import (
    CheckpointError,
    FrozenNetworks,
    Glancer,
    Recognizer,
    RecognizerConfig,
    build_backbone,
    trust_import,
)

OWN = f"{__name__}:Own"


class Own(nn.Module):
    """Four channels at stride 4, between 0 and 1."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=4, stride=4)
        self.squash = nn.Sigmoid()
        self.head = nn.Linear(4, num_classes)

    def forward_features(self, frames):
        return self.squash(self.conv(frames))

    def forward(self, frames):
        return self.head(self.forward_features(frames).mean(dim=(2, 3)))


class Headless(Own):
    """Its map is a vector."""

    def forward_features(self, frames):
        return super().forward_features(frames).mean(dim=(2, 3))

    def forward(self, frames):
        return self.head(self.forward_features(frames))


@pytest.fixture
def nobody_trusted(monkeypatch):
    monkeypatch.setattr(trusted_imports, "_trusted", set())
    return trusted_imports._trusted


def _recognizer(**networks):
    torch.manual_seed(0)
    sizes = {"class_names": ("a", "b"), "frame_size": 64, "glance_size": 64, "patch_size": 32}
    return Recognizer(RecognizerConfig(num_frames=2, hidden_dim=8, **sizes, **networks))


def test_a_network_of_ones_own_in_a_recognizer_that_is_saved_and_loaded(nobody_trusted, tmp_path):
    trust_import(OWN)
    recognizer = _recognizer(glancer=OWN, focuser="resnet_small").eval()
    assert recognizer.glancer.map_bound == 1.0
    assert recognizer.map_shape() == (4, 16, 16)  # 64 pixels at stride 4
    recognizer.save(tmp_path)
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = FrozenNetworks(recognizer).glance(frames)[0]
    loaded = Recognizer.load(tmp_path)
    torch.testing.assert_close(FrozenNetworks(loaded).glance(frames)[0], expected)
    assert loaded.config.glancer == OWN


def test_an_import_path_in_a_file_is_not_imported_unless_the_user_named_it(
    nobody_trusted, tmp_path, monkeypatch
):
    trust_import(OWN)
    _recognizer(glancer=OWN, focuser="resnet_small").save(tmp_path)
    evil = f"{__name__}_evil:Own"
    file = tmp_path / "recognizer.json"
    file.write_text(file.read_text().replace(OWN, evil))
    monkeypatch.setitem(sys.modules, evil.split(":")[0], None)  # importing it would fail otherwise
    nobody_trusted.clear()
    with pytest.raises((ValueError, CheckpointError), match="importing it runs code"):
        Recognizer.load(tmp_path)
    monkeypatch.setenv("ADAFOCUS_TRUST", f"other:Net, {evil}")
    with pytest.raises((ValueError, CheckpointError), match="cannot be imported"):
        Recognizer.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{__name__}:Headless", r"has no feature map: .* it gives \(1, 4\)"),
        (f"{__name__}:Gone", "cannot be imported: .*Gone"),
        ("gone.module:Net", "cannot be imported: .*gone"),
        ("torch.nn:ReLU", "cannot be made with num_classes="),
        ("torch.nn:Identity", "has no feature map"),
    ],
)
def test_a_network_that_cannot_be_used_is_one_line(nobody_trusted, name, message):
    trust_import(name)
    with pytest.raises(ValueError, match=message) as raised:
        build_backbone(name, 3)
    assert "\n" not in str(raised.value)


def test_without_timm_its_networks_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm: pip install 'adafocus-env\[timm\]'"):
        build_backbone("timm:resnet18", 3)


class TestTimm:
    """Of timm's networks."""

    @pytest.fixture(autouse=True)
    def _timm(self):
        pytest.importorskip("timm")

    @pytest.mark.parametrize(
        ("name", "channels", "bound"),
        [("timm:mobilenetv2_050", 1280, 6.0), ("timm:resnet10t", 512, None)],
    )
    def test_map_and_bound_are_found(self, name, channels, bound):
        built = build_backbone(name, 3)
        assert (built.num_channels, built.feature_bound) == (channels, bound)
        frames = torch.rand(1, 3, 64, 64)
        assert built.feature_map(built.net.eval(), frames).shape == (1, channels, 2, 2)
        assert built.net(frames).shape == (1, 3)

    def test_they_look_and_are_saved(self, tmp_path):
        recognizer = _recognizer(glancer="timm:mobilenetv2_050", focuser="timm:resnet10t").eval()
        recognizer.save(tmp_path)
        frames = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
        corner = torch.zeros(1, 2, dtype=torch.int64)
        expected = FrozenNetworks(recognizer).focus(frames, corner)
        assert expected.shape == (1, 512)
        found = FrozenNetworks(Recognizer.load(tmp_path)).focus(frames, corner)
        torch.testing.assert_close(found, expected)

    def test_an_unbounded_glancer_needs_a_cap(self):
        with pytest.raises(ValueError, match="set activation_cap"):
            Glancer("timm:resnet10t", 3)
        assert Glancer("timm:resnet10t", 3, activation_cap=4.0).map_bound == 4.0

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("timm:resnet10s", r"timm has no network 'resnet10s'; did you mean timm:resnet\d+"),
            ("timm:vit_tiny_patch16_224", "has no feature map"),
        ],
    )
    def test_a_name_that_cannot_be_used_is_one_line(self, name, message):
        with pytest.raises(ValueError, match=message) as raised:
            build_backbone(name, 3)
        assert "\n" not in str(raised.value)
