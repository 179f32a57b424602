"""Recognizer: preprocessing, classifier, files."""

import copy
import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from adafocus_env.networks import (
    CheckpointError,
    Recognizer,
    RecognizerConfig,
    RecurrentClassifier,
    class_mismatch,
    has_placeholder_names,
    placeholder_class_names,
)


def test_saving_and_loading_keeps_every_bit(tiny_recognizer, tmp_path):
    tiny_recognizer.save(tmp_path / "new" / "folder")
    loaded = Recognizer.load(tmp_path / "new" / "folder").eval()
    assert loaded.config == tiny_recognizer.config
    assert loaded.fingerprint() == tiny_recognizer.fingerprint()
    expected = tiny_recognizer.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


def test_saving_twice_replaces_the_files_by_ones_of_ordinary_permissions(tiny_recognizer, tmp_path):
    tiny_recognizer.save(tmp_path)
    second = copy.deepcopy(tiny_recognizer)
    second.classifier.fc.bias.add_(1.0)
    second.save(tmp_path)
    (tmp_path / "any").touch()
    modes = {file.name: file.stat().st_mode for file in tmp_path.iterdir()}
    assert modes.keys() == {"recognizer.json", "recognizer.safetensors", "any"}
    assert len(set(modes.values())) == 1
    assert Recognizer.load(tmp_path).fingerprint() == second.fingerprint()


def test_fingerprint_changes_with_the_configuration_and_with_one_weight(tiny_recognizer):
    before = tiny_recognizer.fingerprint()
    for entries in (
        {"dropout": 0.25},
        {"patch_size": 16},
        {"glance_resize": "nearest"},
        {"class_names": ("class 0", "class 1", "class 9")},
        {"pixel_mean": (0.5, 0.5, 0.5)},
    ):
        other = copy.deepcopy(tiny_recognizer)
        assert other.fingerprint() == before
        other.config = dataclasses.replace(other.config, **entries)
        assert other.fingerprint() != before
    for name in ("glancer.net.features.0.0.weight", "focuser.net.bn1.running_var"):
        other = copy.deepcopy(tiny_recognizer)
        tensor = other.state_dict()[name]
        first = (0,) * tensor.ndim
        tensor[first] = torch.nextafter(tensor[first], torch.tensor(torch.inf))
        assert other.fingerprint() != before


@pytest.fixture
def saved(tiny_recognizer, tmp_path):
    """A folder with the files of `tiny_recognizer`, for a test to spoil."""
    tiny_recognizer.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_run_folder_instead_of_its_recognizer_is_named_with_it(saved):
    saved.rename(saved.parent / "recognizer")
    with pytest.raises(FileNotFoundError, match=rf"did you mean {saved.parent}/recognizer\?"):
        Recognizer.load(saved.parent)


def test_a_missing_file_is_named_with_the_command_that_makes_it(saved):
    for missing in ("recognizer.safetensors", "recognizer.json"):
        (saved / missing).unlink()
        message = f"{saved}.*{missing} is missing; 'adafocus stage1'"
        with pytest.raises(FileNotFoundError, match=message):
            Recognizer.load(saved)


def test_weights_that_are_damaged_or_of_other_names_or_sizes_are_refused(
    saved, make_recognizer, tmp_path
):
    file = saved / "recognizer.safetensors"
    whole = file.read_bytes()
    for content in (whole[:-10], b"no weights at all", b""):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{file} holds no weights"):
            Recognizer.load(saved)
    make_recognizer(hidden_dim=24).save(tmp_path / "other")
    file.write_bytes((tmp_path / "other" / file.name).read_bytes())
    with pytest.raises(CheckpointError, match=r"\(72, 176\) in the file but \(48, 176\) here"):
        Recognizer.load(saved)
    file.write_bytes(whole)
    tensors = load_file(file)
    bias = tensors.pop("classifier.fc.bias")
    for more in ({}, {"classifier.fc.bias": bias.clone()}):  # one missing; one too many
        save_file({**tensors, "classifier.fc.scale": bias, **more}, file)
        with pytest.raises(CheckpointError, match=r"does not fit .*fc\.scale"):
            Recognizer.load(saved)


def test_weights_that_are_not_finite_are_refused_with_the_tensor(saved):
    file = saved / "recognizer.safetensors"
    tensors = load_file(file)
    tensors["classifier.fc.bias"][1] = float("nan")
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=f"{file}: 1 of the 3 numbers in classifier.fc.bias"):
        Recognizer.load(saved)


def test_networks_of_a_size_that_no_weights_are_there_for_are_not_built(saved):
    file = saved / "recognizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "hidden_dim": 60_000}))
    # 43 GB of weights_hh alone, if they were made before they are compared.
    with pytest.raises(CheckpointError, match=r"does not fit .*\(180000, 176\) here"):
        Recognizer.load(saved)


def test_a_description_that_cannot_be_used_or_is_no_json_object_is_named(saved):
    file = saved / "recognizer.json"
    whole = json.loads(file.read_text())
    for entries, message in (
        ({"format_version": 2}, "format_version is 2, this package reads 1"),
        ({"format_version": None}, "format_version should be a valid integer, not None"),
        ({"glancer": "vgg"}, "unknown backbone 'vgg'"),
        ({"glancer": "resnet_small"}, "set activation_cap"),
        ({"hiden_dim": 3}, "hiden_dim is unknown"),
        ({"class_names": []}, "class_names .* at least 1 item"),
        ({"class_names": ["a", "b", "a"]}, "class_names: 'a' is there 2 times"),
        ({"patch_size": 41}, "patch_size 41 must be between 1 and frame_size 40"),
        ({"patch_size": 0}, "patch_size should be greater than or equal to 1, not 0"),
        ({"glance_resize": "cubic"}, "'nearest' or 'area', not 'cubic'"),
        ({"hidden_dim": "large"}, "hidden_dim should be a valid integer, not 'large'"),
        ({"hidden_dim": True}, "hidden_dim should be a valid integer, not True"),
        ({"hidden_dim": 10**7}, "hidden_dim should be less than or equal to 65536, not 10000000"),
        ({"num_frames": 0}, "num_frames should be greater than or equal to 1, not 0"),
        ({"pixel_mean": [0.5, 0.5]}, "pixel_mean.2 is missing"),
        ({"pixel_std": [0.2, 0, 0.2]}, "pixel_std.1 should be greater than"),
        ({"activation_cap": float("inf")}, "activation_cap should be a finite number"),
    ):
        file.write_text(json.dumps({**whole, **entries}))
        with pytest.raises(CheckpointError, match=rf"recognizer\.json: .*{message}"):
            Recognizer.load(saved)
    deep = b'{"a": ' + b"[" * 10**5
    for content in (b"", b"{", b"[1, 2]", b"\xff\xfe", b'"text"', deep):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"recognizer\.json (cannot|holds)"):
            Recognizer.load(saved)


def test_gru_step_hand_computed():
    # One feature, one state, x = 1, h = 0.5. Weights zero but the new gate's input weight 1, so
    # reset = update = sigmoid(0) = 1/2, new = tanh(1) and h' = (new + h) / 2.
    classifier = RecurrentClassifier(1, 1, 2)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.zero_()
        classifier.gru.get_parameter("weight_ih_l0")[2] = 1.0
        classifier.fc.weight[0] = 2.0
        logits, state = classifier.step(torch.ones(1, 1), torch.full((1, 1), 0.5))
    assert state.item() == pytest.approx((0.761594 + 0.5) / 2, abs=1e-6)
    assert logits.tolist()[0] == pytest.approx([2 * 0.630797, 0.0], abs=1e-6)


def test_dropout_acts_on_the_outputs_and_only_in_training():
    classifier = RecurrentClassifier(2, 64, 3, dropout=0.5)
    features, state = torch.ones(1, 2), torch.ones(1, 64)
    with torch.no_grad():
        one, state_one = classifier.train().step(features, state)
        other, state_other = classifier.step(features, state)
        assert not torch.equal(one, other)
        assert torch.equal(state_one, state_other)
        assert torch.equal(*(classifier.eval().step(features, state)[0] for _ in range(2)))


SMALL = {"glancer": "mobilenet_v2_small", "focuser": "resnet_small", "hidden_dim": 4}


def _config(class_names=("a",), **entries):
    plain = {"pixel_mean": (0.0, 0.0, 0.0), "pixel_std": (1 / 255, 1 / 255, 1 / 255)}
    sizes = {"frame_size": 4, "patch_size": 2, "glance_size": 2}
    return RecognizerConfig(class_names, **{**SMALL, **plain, **sizes, **entries})


@pytest.mark.parametrize(
    ("glance_resize", "expected"),
    [
        ("nearest", [[0.0, 2.0], [8.0, 10.0]]),  # source index floor(i * 4 / 2)
        ("area", [[2.5, 4.5], [10.5, 12.5]]),  # means of 2x2 pixels
    ],
)
def test_glance_input_takes_or_averages_pixels(glance_resize, expected):
    frame = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4).expand(1, 3, 4, 4)
    recognizer = Recognizer(_config(glance_resize=glance_resize))
    glance_input = recognizer.glance_input(frame)
    assert glance_input.dtype == torch.float32
    for channel in glance_input[0]:
        torch.testing.assert_close(channel, torch.tensor(expected))


def test_glance_input_of_the_right_size_is_not_resampled_and_normalised_in_rgb_order():
    frame = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4).expand(1, 3, 4, 4)
    glance_input = Recognizer(_config(glance_size=4)).glance_input(frame)
    torch.testing.assert_close(glance_input, frame.float())
    recognizer = Recognizer(RecognizerConfig(("a",), **SMALL))
    white = recognizer.normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8))
    # (1 - .485) / .229, (1 - .456) / .224, (1 - .406) / .225
    assert white.flatten().tolist() == pytest.approx([2.248908, 2.428571, 2.64], abs=1e-5)
    black = recognizer.normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    assert black.flatten().tolist() == pytest.approx([-2.117904, -2.035714, -1.804444], abs=1e-5)


def test_map_shape_changes_neither_mode_nor_weights(tiny_recognizer):
    recognizer = copy.deepcopy(tiny_recognizer).train()
    assert recognizer.map_shape() == (48, 7, 7)
    assert all(module.training for module in recognizer.modules())
    assert recognizer.fingerprint() == tiny_recognizer.fingerprint()


def test_published_defaults_are_those_of_activitynet():
    config = RecognizerConfig(("a",))
    assert (config.num_frames, config.frame_size, config.glance_size) == (16, 224, 224)
    assert (config.glancer, config.focuser, config.hidden_dim) == ("mobilenet_v2", "resnet50", 1024)
    assert config.glance_resize == "nearest"


def test_the_glancers_fingerprint_stays_when_another_part_changes(tiny_recognizer):
    before = tiny_recognizer.glancer_fingerprint()
    other = copy.deepcopy(tiny_recognizer)
    other.classifier.fc.bias.add_(1.0)
    other.config = dataclasses.replace(other.config, dropout=0.1, patch_size=10)
    assert other.glancer_fingerprint() == before
    other.config = dataclasses.replace(other.config, glance_resize="nearest")
    assert other.glancer_fingerprint() != before
    other = copy.deepcopy(tiny_recognizer)
    other.state_dict()["glancer.net.features.0.1.running_mean"][0] += 1.0
    assert other.glancer_fingerprint() != before


def test_placeholder_names_fit_any_classes_of_their_number_and_other_names_their_own_alone():
    config = _config(class_names=placeholder_class_names(3))
    assert has_placeholder_names(config)
    assert class_mismatch(config, ("run", "jump", "swim")) is None
    assert "knows 3 classes but the videos have 2" in (class_mismatch(config, ("a", "b")) or "")
    config = _config(class_names=("run", "jump", "swim"))
    assert not has_placeholder_names(config)
    assert class_mismatch(config, ["run", "jump", "swim"]) is None
    message = class_mismatch(config, ["run", "dive", "swim"])
    assert "class 1 is 'jump' to the recognizer but 'dive' in the videos' class file" in message
