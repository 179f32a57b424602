"""`pretrained_glancer=` and `pretrained_focuser=`: weights of stage 0 and from elsewhere."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import mobilenet_v2

from adafocus_env.networks import CheckpointError, Focuser, Glancer
from train.checkpoints.backbones import load_backbone, named_pretrained, save_backbone
from train.config.keys import ConfigError

NAMES = ("class 0", "class 1", "class 2")


@pytest.fixture
def run(tmp_path):
    """A stage-0 run folder that holds a glancer."""
    torch.manual_seed(0)
    network = Glancer("mobilenet_v2_small", 3)
    save_backbone(network, "mobilenet_v2_small", NAMES, tmp_path / "run" / "glancer")
    return tmp_path / "run"


MAKE = {"glancer": Glancer, "focuser": Focuser}
SMALL = {"glancer": "mobilenet_v2_small", "focuser": "resnet_small"}


def _load(path, part="glancer", classes=3, name=None):
    """A new network of the part, with the weights that are found."""
    name = name or SMALL[part]
    torch.manual_seed(1)
    network = MAKE[part](name, classes)
    load_backbone(network, name, str(path), part)
    return network


def test_a_backbone_is_two_files_without_code_and_loaded_as_it_was_saved(run, changed):
    torch.manual_seed(0)
    assert not changed(Glancer("mobilenet_v2_small", 3), _load(run))
    files = sorted(path.name for path in (run / "glancer").iterdir())
    assert files == ["backbone.json", "backbone.safetensors"]
    file = run / "glancer" / "backbone.json"
    description = json.loads(file.read_text())
    names = {"backbone": "mobilenet_v2_small", "class_names": list(NAMES)}
    assert description == {"part": "glancer", **names}
    assert "net.features.0.0.weight" in load_file(run / "glancer" / "backbone.safetensors")
    file.write_text(json.dumps(names))  # descriptions without the part are still read
    _load(run)


def test_another_backbone_or_part_is_refused(run, tiny_recognizer, tmp_path):
    tiny_recognizer.save(tmp_path / "recognizer")
    small, named = "mobilenet_v2_small", r"holds a glancer \(mobilenet_v2_small\), but a focuser is"
    for name, path, part, message in (
        ("mobilenet_v2", run, "glancer", f"a {small}, but the glancer is a mobilenet_v2"),
        ("resnet_small", run / "glancer", "focuser", named),
        ("resnet50", tmp_path, "focuser", "a resnet_small, but the focuser is a resnet50"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_backbone(torch.nn.Identity(), name, str(path), part)


def test_a_head_for_other_classes_is_left_out_and_logged(run, caplog):
    with caplog.at_level(logging.INFO):
        network = _load(run, classes=4)
    torch.manual_seed(1)
    before = Glancer("mobilenet_v2_small", 4).state_dict()
    saved = load_file(run / "glancer" / "backbone.safetensors")
    for name, value in network.state_dict().items():
        kept = name.startswith("net.classifier.1.")
        assert torch.equal(value, before[name] if kept else saved[name]), name
        assert (f"{name} has 3 classes, here are 4: left out" in caplog.text) == kept


def test_a_head_of_another_width_is_an_error(run):
    weights = load_file(run / "glancer" / "backbone.safetensors")
    weights["net.classifier.1.weight"] = torch.zeros(3, 47)
    save_file(weights, run / "glancer" / "backbone.safetensors")
    message = r"net\.classifier\.1\.weight is \(3, 47\) in the file but \(3, 48\) here"
    with pytest.raises(CheckpointError, match=message):
        _load(run)


@pytest.mark.parametrize("part", MAKE)
def test_a_recognizer_or_a_published_file_gives_its_parts(tiny_recognizer, changed, tmp_path, part):
    tiny_recognizer.save(tmp_path / "recognizer")
    expected = getattr(tiny_recognizer, part).state_dict()
    policy = {"policy.policy.actor.0.bias": torch.zeros(9)} if part == "focuser" else {}
    torch.save({part: {**expected, **policy}}, tmp_path / "checkpoint.pth.tar")
    for path in (tmp_path, tmp_path / "recognizer", tmp_path / "checkpoint.pth.tar"):
        assert not changed(_load(path, part), expected)


def test_a_file_with_other_networks_only_is_refused(tmp_path):
    torch.save({"glancer": {"net.a": torch.zeros(1)}, "epoch": 3}, tmp_path / "x.pth.tar")
    with pytest.raises(CheckpointError, match=r"has no focuser; its entries are glancer, epoch"):
        _load(tmp_path / "x.pth.tar", "focuser")


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory):
    """A MobileNetV2 of 1000 classes as torchvision's weight files are: tensors by name."""
    file = tmp_path_factory.mktemp("imagenet") / "mobilenet_v2-b0353104.pth"
    torch.save(mobilenet_v2().state_dict(), file, _use_new_zipfile_serialization=False)
    return file


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_torchvision_weights_are_read_but_for_their_1000_classes(imagenet_file, tmp_path, kind):
    weights, file = torch.load(imagenet_file, weights_only=True), imagenet_file
    if kind == "safetensors":
        file = tmp_path / "mobilenet_v2.safetensors"
        save_file(dict(weights), file)
    got = _load(file, name="mobilenet_v2").state_dict()
    for name, value in weights.items():
        if not name.startswith("classifier."):
            assert torch.equal(got[f"net.{name}"], value), name
    assert len(got) == len(weights) == 314
    assert got["net.classifier.1.weight"].shape == (3, 1280)


def test_a_network_that_is_published_as_a_glancer_is_a_focuser_with_the_same_file(imagenet_file):
    focuser = _load(imagenet_file, "focuser", name="mobilenet_v2")
    glancer = _load(imagenet_file, name="mobilenet_v2")
    assert torch.equal(focuser.net.features[18][0].weight, glancer.net.features[18][0].weight)
    assert focuser.class_head().out_features == 3


def test_torchvision_weights_of_another_network_are_an_error_by_name(imagenet_file):
    with pytest.raises(CheckpointError) as error:
        _load(imagenet_file, "focuser", name="resnet50")
    message = str(error.value)
    assert message.startswith(f"{imagenet_file} does not fit this focuser (resnet50): ")
    assert "missing: net.conv1.weight, " in message
    assert "unexpected: net.features.0.0.weight, " in message


def test_old_weights_without_batch_counters_are_read(tmp_path):
    source = Focuser("resnet_small", 1000).net.state_dict()
    old = {name: v for name, v in source.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(source)
    torch.save(old, tmp_path / "resnet.pth")
    network = _load(tmp_path / "resnet.pth", "focuser")
    assert torch.equal(network.net.state_dict()["conv1.weight"], source["conv1.weight"])


def test_a_missing_backbone_is_named_with_its_command(tmp_path):
    for part, value in (("glancer", "true"), ("focuser", "false")):
        command = f"adafocus stage0 pretrain_glancer={value}"
        with pytest.raises(ConfigError, match=f"no {part} in {tmp_path}; '{command}' makes one"):
            _load(tmp_path, part)


@pytest.mark.parametrize(
    ("name", "part", "sources"),
    [
        ("mobilenet_v2", "glancer",
         "FILE, such as torchvision's mobilenet_v2-b0353104.pth, or RUN_FOLDER of 'adafocus stage0 "
         "pretrain_glancer=true'"),
        ("resnet50", "focuser",
         "FILE, such as torchvision's resnet50-19c8e357.pth, or RUN_FOLDER of 'adafocus stage0 "
         "pretrain_glancer=false'"),
        ("resnet_small", "focuser",
         "RUN_FOLDER of 'adafocus stage0 pretrain_glancer=false', or FILE with weights of "
         "resnet_small"),
    ],
)  # fmt: skip
def test_weights_that_are_not_there_are_said_to_be_so_with_what_may_be_named(name, part, sources):
    with pytest.raises(ConfigError) as error:
        load_backbone(torch.nn.Identity(), name, "nofile.pth", part)
    assert str(error.value) == f"pretrained_{part}=nofile.pth does not exist; name {sources}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "run needs pretrained_glancer=FILE, such as torchvision's mobilenet_v2-b0353104.pth"),
        (["pretrained_glancer={}", "pretrained_focuser=null"], "run needs pretrained_focuser=FILE"),
        (["pretrained_glancer={}", "pretrained_focuser=gone"], "pretrained_focuser=gone does not"),
    ],
    ids=str,
)
def test_all_pretrained_networks_are_asked_for_before_any_is_read(
    make_config, tmp_path, given, message
):
    small = ["experiment=small", "data_dir=x", *(one.format(tmp_path) for one in given)]
    with pytest.raises(ConfigError, match=f"^{message}"):
        named_pretrained(make_config("bank", *small), "run")


def test_the_focusers_weights_are_the_glancers_in_small_experiments(make_config, tmp_path):
    config = make_config(
        "stage1", "experiment=small", "data_dir=x", f"pretrained_glancer={tmp_path}"
    )
    both = ("mobilenet_v2", str(tmp_path))
    assert named_pretrained(config, "stage1") == {"glancer": both, "focuser": both}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("backbone.json", content) for content in (b"", b"{", b"[]", b"{}", b"7")),
        *(("backbone.safetensors", content) for content in (b"", b"not safetensors", None)),
    ],
    ids=repr,
)
def test_a_description_and_weights_that_cannot_be_read_are_named(run, file, content):
    path = run / "glancer" / file
    path.unlink() if content is None else path.write_bytes(content)
    errors = (CheckpointError, OSError) if content is None else CheckpointError
    with pytest.raises(errors, match=str(run)):
        _load(run)
