"""`adafocus convert`: published checkpoints to ours and back, at small size."""

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from adafocus_env.networks import (
    CheckpointError,
    Recognizer,
    has_placeholder_names,
    placeholder_class_names,
)
from agents.policies.policy_files import load_policy, save_policy
from train.checkpoints.convert import run_convert
from train.config.keys import ConfigError
from train.runs.progress import ProgressDisplay

# The sizes of `make_recognizer` that no weight tells.
SIZES = "num_frames=4 frame_size=40 patch_size=12 glance_size=28 glance_resize=area dropout=0.5"


@pytest.fixture
def run_folder(tiny_recognizer, small_policy, tmp_path):
    """Ours: the tiny recognizer and a policy of 25 actions."""
    tiny_recognizer.save(tmp_path / "run" / "recognizer")
    sha256 = tiny_recognizer.fingerprint()
    save_policy(small_policy(25), tmp_path / "run" / "policy", recognizer_sha256=sha256)
    return tmp_path / "run"


@pytest.fixture
def convert(make_config, tmp_path, video_folder):
    """Converts at the sizes of the tiny recognizer, with its class file; gives what is printed."""

    def run(source, target, *overrides):
        given = [f"source={source}", f"target={target}", f"output_dir={tmp_path / 'out'}"]
        data = ["dataset=videos", f"data_dir={video_folder}"]
        config = make_config("convert", *data, *SIZES.split(), *given, *overrides)
        out = io.StringIO()
        run_convert(config, ProgressDisplay(Console(file=out, width=40)))
        return out.getvalue()

    return run


@pytest.fixture
def back(convert, tmp_path):
    """Converts a published file into `back`: what is printed, and `convert.json`."""

    def run(file, *overrides):
        printed = convert(file, tmp_path / "back", *overrides)
        return printed, _report(tmp_path / "back")

    return run


@pytest.fixture
def refused(convert, tmp_path):
    """Converts into `back`, or as named, which must end with an error that matches."""

    def run(message, source, *overrides, target="back", error=CheckpointError):
        with pytest.raises(error, match=message) as caught:
            convert(source, tmp_path / target, *overrides)
        return str(caught.value)

    return run


def _report(folder):
    return json.loads((folder / "convert.json").read_text())


def _load(file):
    return torch.load(file, weights_only=True)


@pytest.fixture
def published(run_folder, convert, tmp_path):
    """`run_folder` in the published format."""
    file = tmp_path / "x.pth.tar"
    convert(run_folder, file, "format=published")
    return file


@pytest.fixture
def change(published):
    """Changes the entries of the published file."""

    def apply(function):
        entries = _load(published)
        function(entries)
        torch.save(entries, published)
        return published

    return apply


def test_ours_to_published_and_back_keeps_every_bit(
    run_folder, published, convert, changed, tmp_path
):
    convert(published, tmp_path / "back")
    before, after = (Recognizer.load(f / "recognizer") for f in (run_folder, tmp_path / "back"))
    assert after.config == before.config
    assert after.fingerprint() == before.fingerprint()
    ours, back = (load_policy(f / "policy") for f in (run_folder, tmp_path / "back"))
    assert back.policy.arguments() == ours.policy.arguments()
    assert back.policy.observation_space == ours.policy.observation_space
    assert back.policy.action_space == ours.policy.action_space
    assert not changed(ours.policy, back.policy)
    assert back.recognizer_sha256 == after.fingerprint()
    assert back.glancer_sha256 == after.glancer_fingerprint()
    # Names come from the class file.
    assert after.config.class_names == ("class 0", "class 1", "class 2")
    assert not has_placeholder_names(after.config)
    # A second round writes the same weights.
    convert(tmp_path / "back", tmp_path / "again.pth.tar", "format=published")
    one, other = _load(published), _load(tmp_path / "again.pth.tar")
    for entry in ("glancer", "focuser", "fc", "policy", "model_state_dict"):
        assert not changed(one[entry], other[entry])


def test_a_run_without_a_policy_becomes_a_file_without_one(run_folder, convert, back, tmp_path):
    file = tmp_path / "y.pth.tar"
    printed = convert(run_folder / "recognizer", file, "format=published")
    entries = _load(file)
    assert entries["policy"] is None
    assert all(name.startswith("net.") for name in entries["focuser"])
    assert printed.startswith("recognizer of ")
    (line,) = [line for line in printed.splitlines() if line.startswith("to read it back: ")]
    for key in [*SIZES.split(), "glancer=mobilenet_v2_small", "activation_cap=null"]:
        assert f" {key}" in line
    assert "recognizer/ are in" in back(file)[0]
    assert not (tmp_path / "back" / "policy").exists()


def test_epoch_and_metrics_of_the_file_are_kept(change, convert, back, tmp_path):
    metrics = {"epoch": 10, "acc": torch.tensor([74.5]), "best_acc": np.float64(75.25)}
    _, report = back(change(lambda entries: entries.update(metrics)))
    assert (report["epoch"], report["acc"], report["best_acc"]) == (10, 74.5, 75.25)
    convert(tmp_path / "back", tmp_path / "again.pth.tar", "format=published")
    entries = _load(tmp_path / "again.pth.tar")
    assert (entries["epoch"], entries["acc"].item()) == (10, 74.5)
    assert entries["best_acc"].item() == 75.25


def test_metrics_that_nobody_knows_are_nan_and_read_as_none(published, back):
    entries = _load(published)
    assert entries["epoch"] == 0
    assert entries["acc"].isnan()
    assert entries["best_acc"].isnan()
    _, report = back(published)
    assert (report["acc"], report["best_acc"]) == (None, None)


def test_sizes_are_found_in_the_weights_and_reported(published, back, tmp_path):
    # The configured ones are others.
    printed, report = back(published, "hidden_dim=99", "action_dim=49")
    sizes = {"num_classes": 3, "hidden_dim": 16, "action_dim": 25, "policy_hidden_dim": 8}
    assert report.items() >= {**sizes, "source": "x.pth.tar"}.items()
    assert f"in the file: {' '.join(f'{k}={v}' for k, v in sizes.items())}\n" in printed
    assert "patch_size=12" in printed
    assert report["from_configuration"]["patch_size"] == 12
    assert len(report["sha256"]) == 64
    assert report["weights"]["policy"]["read"] == 11
    assert f"use it as resume={tmp_path / 'back'}" in printed.splitlines()[-1]


def test_unexpected_weights_are_left_out_and_a_policy_in_the_focuser_alone_is_taken(
    change, back, changed, run_folder, tmp_path
):
    def apply(entries):
        entries["policy"] = None
        entries["glancer"]["net.extra"] = torch.zeros(2)

    printed, report = back(change(apply))
    assert "not used: net.extra" in printed
    assert report["weights"]["glancer"]["unexpected"] == ["net.extra"]
    assert "note: the policy is taken from focuser's policy.policy_old.*" in printed
    for part in ("recognizer", "policy"):
        assert not changed(run_folder / part, tmp_path / "back" / part)


@pytest.mark.parametrize(
    ("entry", "name", "part"),
    [
        ("glancer", "net.features.0.0.weight", "glancer"),
        ("focuser", "net.bn1.running_var", "focuser"),
        ("fc", "gru.bias_ih_l0", "classifier"),
        ("policy", "critic.0.bias", "policy"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "of another shape"])
def test_missing_weights_and_other_shapes_are_named(
    change, refused, tmp_path, entry, name, part, damage
):
    def apply(entries):
        weight = entries[entry].pop(name)
        if damage != "missing":
            entries[entry][name] = torch.zeros(*weight.shape, 2)

    said = refused(f"{part}: 1 {damage}: {name}", change(apply))
    assert str(tmp_path / "out" / "convert.json") in said
    assert not (tmp_path / "back").exists()
    report = _report(tmp_path / "out")["weights"][part]
    assert [*report["missing"], *report["wrong_shapes"]][0].startswith(name)


def test_a_missing_weight_that_tells_a_size_is_named(change, refused):
    for entry, name, message in (  # each is looked for before the one that is missing already
        ("policy", "actor.0.weight", "the policy in .* has no actor.0.weight"),
        ("fc", "gru.weight_hh_l0", "no gru.weight_hh_l0 in its entry fc"),
        ("fc", "fc.weight", "no fc.weight in its entry fc"),
    ):
        refused(message, change(lambda entries, e=entry, n=name: entries[e].pop(n)))


def test_a_file_read_with_the_wrong_networks_and_a_policy_on_no_grid_say_so(
    published, change, refused
):
    refused("focuser: .*experiment=.*or glancer= and focuser=", published, "focuser=resnet50")
    maps = "48 channels and 49 positions, but the glancer gives 48 and 10x10 .* glance_size="
    refused(maps, published, "glance_size=40")
    odd = {"actor.0.weight": torch.zeros(24, 8)}
    refused("24 actions, which is no square grid", change(lambda e: e["policy"].update(odd)))


def test_without_a_data_dir_names_are_placeholders(published, back, tmp_path):
    printed, _ = back(published, "data_dir=null")
    config = Recognizer.load(tmp_path / "back" / "recognizer").config
    assert config.class_names == placeholder_class_names(3)
    assert has_placeholder_names(config)
    assert "class names: placeholders: no data_dir was given" in printed


def test_another_number_of_classes_is_refused(published, refused, tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n")
    for message, *overrides in (
        (r"knows 3 classes, but dataset=videos has 2: another", f"data_dir={tmp_path}"),
        # Without its files, as the data set declares; a forgotten experiment is guessed.
        ("knows 3 classes, but dataset=fcvid has 239", "dataset=fcvid", "data_dir=null"),
        (r"dataset=glyphs has 10.*=actnet_patch128", "dataset=glyphs", "data_dir=null"),
    ):
        refused(message, published, *overrides, error=ConfigError)


def test_source_and_target_are_needed_and_of_the_right_kind(run_folder, refused, tmp_path):
    for missing in ("source", "target"):
        refused(f"convert needs {missing}=...", tmp_path, f"{missing}=null", error=ConfigError)
    message = "run is a folder; format=published writes it as a file"
    refused(message, run_folder, error=ConfigError)


def test_what_is_there_is_left_alone(run_folder, published, refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    before = published.read_bytes()
    for source, target, message, *overrides in (
        (published, "mine", r"mine is not empty and holds no convert\.json"),
        (published, "mine/notes.txt", r"notes\.txt is a file; name a folder"),
        (run_folder, published, r"x\.pth\.tar exists already; name a new", "format=published"),
    ):
        refused(message, source, *overrides, target=target, error=ConfigError)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert published.read_bytes() == before


def test_an_earlier_conversion_is_replaced_with_its_policy(published, change, back, tmp_path):
    back(published)
    assert (tmp_path / "back" / "policy" / "policy.json").is_file()

    def without_policy(entries):
        entries["policy"] = None
        entries["focuser"] = {n: v for n, v in entries["focuser"].items() if n[:4] == "net."}

    back(change(without_policy))
    names = sorted(path.name for path in (tmp_path / "back").iterdir())
    assert names == ["convert.json", "recognizer"]


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((48,), {}, "sees other maps|glance vectors"),
        ((48, 5, 5), {}, "sees other maps"),
        ((48, 7, 7), {"standardize": True}, r"algo\.policy_kwargs\.standardize=fals"),
    ],
    ids=["vectors", "other maps", "standardised"],
)
def test_a_policy_that_the_published_network_cannot_be_is_refused(
    run_folder, small_policy, refused, tmp_path, shape, arguments, message
):
    policy = small_policy(25, shape, **arguments)
    if arguments:
        policy.fit_scale_once(torch.rand(20, 48, 7, 7))
    save_policy(policy, run_folder / "policy", recognizer_sha256="")
    refused(message, run_folder, "format=published", target="y.pth.tar")
    assert not (tmp_path / "y.pth.tar").exists()


def test_other_pixel_statistics_are_refused(make_recognizer, refused, tmp_path):
    make_recognizer(pixel_mean=(0.5, 0.5, 0.5)).save(tmp_path / "half")
    message = r"its pixel_mean is \(0\.5, 0\.5, 0\.5\), not"
    refused(message, tmp_path / "half", "format=published", target="y.pth.tar")
