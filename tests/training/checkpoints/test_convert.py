"""`adafocus convert`: published checkpoints to ours and back, at small size."""

import io
import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from rich.console import Console

from adafocus_env.networks import (
    CheckpointError,
    Recognizer,
    has_placeholder_names,
    placeholder_class_names,
)
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.policy_files import load_policy, save_policy
from train.checkpoints.convert import run_convert
from train.config.sections import ConfigError
from train.runs.progress import ProgressDisplay

# The sizes of `make_recognizer` that no weight tells.
SIZES = "num_frames=4 frame_size=40 patch_size=12 glance_size=28 glance_resize=area dropout=0.5"


def make_policy(shape=(48, 7, 7), **arguments):
    torch.manual_seed(5)
    sizes = {"channels": 4, "hidden_dim": 8, **arguments}
    observations = spaces.Box(0.0, 6.0, shape, np.float32)
    return GruActorCriticPolicy(observations, spaces.Discrete(25), lambda _: 0.0, **sizes)


@pytest.fixture
def run_folder(tiny_recognizer, tmp_path):
    """Ours: the tiny recognizer and a policy of 25 actions."""
    tiny_recognizer.save(tmp_path / "run" / "recognizer")
    sha256 = tiny_recognizer.fingerprint()
    save_policy(make_policy(), tmp_path / "run" / "policy", recognizer_sha256=sha256)
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
def published(run_folder, convert, tmp_path):
    """`run_folder` in the published format."""
    file = tmp_path / "x.pth.tar"
    convert(run_folder, file, "format=published")
    return file


@pytest.fixture
def change(published):
    """Changes the entries of the published file."""

    def apply(function):
        entries = torch.load(published, weights_only=True)
        function(entries)
        torch.save(entries, published)
        return published

    return apply


# --- there and back ---


def test_ours_to_published_and_back_keeps_every_bit(run_folder, published, convert, tmp_path):
    convert(published, tmp_path / "back")
    before, after = (Recognizer.load(f / "recognizer") for f in (run_folder, tmp_path / "back"))
    assert after.config == before.config
    assert after.fingerprint() == before.fingerprint()
    ours, back = (load_policy(f / "policy") for f in (run_folder, tmp_path / "back"))
    assert back.policy.arguments() == ours.policy.arguments()
    assert back.policy.observation_space == ours.policy.observation_space
    assert back.policy.action_space == ours.policy.action_space
    expected = ours.policy.state_dict()
    assert back.policy.state_dict().keys() == expected.keys()
    for name, value in back.policy.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert back.recognizer_sha256 == after.fingerprint()
    assert back.glancer_sha256 == after.glancer_fingerprint()


def test_a_second_round_writes_the_same_weights(published, convert, tmp_path):
    convert(published, tmp_path / "back")
    convert(tmp_path / "back", tmp_path / "again.pth.tar", "format=published")
    one, other = (
        torch.load(file, weights_only=True) for file in (published, tmp_path / "again.pth.tar")
    )
    for entry in ("glancer", "focuser", "fc", "policy", "model_state_dict"):
        assert one[entry].keys() == other[entry].keys()
        assert all(torch.equal(one[entry][name], other[entry][name]) for name in one[entry])


def test_a_run_without_a_policy_becomes_a_file_without_one(run_folder, convert, tmp_path):
    printed = convert(run_folder / "recognizer", tmp_path / "y.pth.tar", "format=published")
    entries = torch.load(tmp_path / "y.pth.tar", weights_only=True)
    assert entries["policy"] is None
    assert all(name.startswith("net.") for name in entries["focuser"])
    assert printed.startswith("recognizer of ")
    printed = convert(tmp_path / "y.pth.tar", tmp_path / "back")
    assert not (tmp_path / "back" / "policy").exists()
    assert "recognizer/ are in" in printed


def test_what_is_printed_reads_the_file_back(run_folder, convert, tmp_path):
    printed = convert(run_folder, tmp_path / "y.pth.tar", "format=published")
    (line,) = [line for line in printed.splitlines() if line.startswith("to read it back: ")]
    for key in [*SIZES.split(), "glancer=mobilenet_v2_small", "activation_cap=null"]:
        assert f" {key}" in line


def test_epoch_and_metrics_of_the_file_are_kept(change, convert, tmp_path):
    metrics = {"epoch": 10, "acc": torch.tensor([74.5]), "best_acc": np.float64(75.25)}
    file = change(lambda entries: entries.update(metrics))
    convert(file, tmp_path / "back")
    report = json.loads((tmp_path / "back" / "convert.json").read_text())
    assert (report["epoch"], report["acc"], report["best_acc"]) == (10, 74.5, 75.25)
    convert(tmp_path / "back", tmp_path / "again.pth.tar", "format=published")
    entries = torch.load(tmp_path / "again.pth.tar", weights_only=True)
    assert (entries["epoch"], entries["acc"].item()) == (10, 74.5)
    assert entries["best_acc"].item() == 75.25


def test_metrics_that_nobody_knows_are_nan_and_read_as_none(published, convert, tmp_path):
    entries = torch.load(published, weights_only=True)
    assert entries["epoch"] == 0
    assert entries["acc"].isnan()
    assert entries["best_acc"].isnan()
    convert(published, tmp_path / "back")
    report = json.loads((tmp_path / "back" / "convert.json").read_text())
    assert (report["acc"], report["best_acc"]) == (None, None)


# --- what is found in a file ---


def test_sizes_are_found_in_the_weights_and_reported(published, convert, tmp_path):
    # The configured ones are others.
    printed = convert(published, tmp_path / "back", "hidden_dim=99", "action_dim=49")
    report = json.loads((tmp_path / "back" / "convert.json").read_text())
    assert (report["num_classes"], report["hidden_dim"]) == (3, 16)
    assert (report["action_dim"], report["policy_hidden_dim"]) == (25, 8)
    assert "in the file: num_classes=3 hidden_dim=16 action_dim=25 policy_hidden_dim=8" in printed
    assert "patch_size=12" in printed
    assert report["from_configuration"]["patch_size"] == 12
    assert report["source"] == "x.pth.tar"
    assert len(report["sha256"]) == 64
    assert report["weights"]["policy"]["read"] == 11
    assert f"use it as resume={tmp_path / 'back'}" in printed.splitlines()[-1]


def test_unexpected_weights_are_reported_and_left_out(change, convert, tmp_path):
    file = change(lambda entries: entries["glancer"].update({"net.extra": torch.zeros(2)}))
    printed = convert(file, tmp_path / "back")
    assert "not used: net.extra" in printed
    report = json.loads((tmp_path / "back" / "convert.json").read_text())
    assert report["weights"]["glancer"]["unexpected"] == ["net.extra"]
    Recognizer.load(tmp_path / "back" / "recognizer")


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
    change, convert, tmp_path, entry, name, part, damage
):
    def apply(entries):
        weight = entries[entry].pop(name)
        if damage != "missing":
            entries[entry][name] = torch.zeros(*weight.shape, 2)

    with pytest.raises(CheckpointError, match=f"{part}: 1 {damage}: {name}") as error:
        convert(change(apply), tmp_path / "back")
    assert str(tmp_path / "out" / "convert.json") in str(error.value)
    assert not (tmp_path / "back").exists()
    report = json.loads((tmp_path / "out" / "convert.json").read_text())["weights"][part]
    assert [*report["missing"], *report["wrong_shapes"]][0].startswith(name)


@pytest.mark.parametrize(
    ("entry", "name", "message"),
    [
        ("fc", "fc.weight", "no fc.weight in its entry fc"),
        ("fc", "gru.weight_hh_l0", "no gru.weight_hh_l0 in its entry fc"),
        ("policy", "actor.0.weight", "the policy in .* has no actor.0.weight"),
    ],
)
def test_a_missing_weight_that_tells_a_size_is_named(
    change, convert, tmp_path, entry, name, message
):
    with pytest.raises(CheckpointError, match=message):
        convert(change(lambda entries: entries[entry].pop(name)), tmp_path / "back")


def test_a_file_read_with_the_wrong_networks_says_so(published, convert, tmp_path):
    with pytest.raises(CheckpointError, match=r"focuser: .*experiment=.*or glancer= and focuser="):
        convert(published, tmp_path / "back", "focuser=resnet50")


def test_a_policy_for_maps_of_another_size_says_which_key_to_set(published, convert, tmp_path):
    message = r"48 channels and 49 positions, but the glancer gives 48 and 10x10 .* glance_size="
    with pytest.raises(CheckpointError, match=message):
        convert(published, tmp_path / "back", "glance_size=40")


def test_a_policy_on_no_square_grid_is_refused(change, convert, tmp_path):
    def apply(entries):
        entries["policy"]["actor.0.weight"] = torch.zeros(24, 8)

    with pytest.raises(CheckpointError, match="24 actions, which is no square grid"):
        convert(change(apply), tmp_path / "back")


def test_the_policy_may_sit_in_the_focuser_only(change, convert, tmp_path, run_folder):
    printed = convert(change(lambda entries: entries.update(policy=None)), tmp_path / "back")
    assert "note: the policy is taken from focuser's policy.policy_old.*" in printed
    expected = load_policy(run_folder / "policy").policy.state_dict()
    got = load_policy(tmp_path / "back" / "policy").policy.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in got.items())


# --- class names ---


def test_names_come_from_the_class_file(published, convert, tmp_path):
    convert(published, tmp_path / "back")
    config = Recognizer.load(tmp_path / "back" / "recognizer").config
    assert config.class_names == ("class 0", "class 1", "class 2")
    assert not has_placeholder_names(config)


def test_without_a_data_dir_names_are_placeholders(published, convert, tmp_path):
    printed = convert(published, tmp_path / "back", "data_dir=null")
    config = Recognizer.load(tmp_path / "back" / "recognizer").config
    assert config.class_names == placeholder_class_names(3)
    assert has_placeholder_names(config)
    assert "class names: placeholders: no data_dir was given" in printed


def test_a_class_file_of_another_length_is_refused(published, convert, tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(ConfigError, match=r"knows 3 classes, but dataset=videos has 2: another"):
        convert(published, tmp_path / "back", f"data_dir={tmp_path}")


def test_the_number_of_classes_that_a_data_set_declares_is_checked_without_its_files(
    published, convert, tmp_path
):
    with pytest.raises(ConfigError, match="knows 3 classes, but dataset=fcvid has 239"):
        convert(published, tmp_path / "back", "dataset=fcvid", "data_dir=null")


def test_a_forgotten_experiment_is_noticed_by_its_classes(published, convert, tmp_path):
    with pytest.raises(ConfigError, match=r"dataset=glyphs has 10.*experiment=actnet_patch128"):
        convert(published, tmp_path / "back", "dataset=glyphs", "data_dir=null")


# --- targets ---


@pytest.mark.parametrize("missing", ["source", "target"])
def test_source_and_target_are_needed(convert, tmp_path, missing):
    with pytest.raises(ConfigError, match=f"convert needs {missing}=..."):
        convert(tmp_path / "a", tmp_path / "b", f"{missing}=null")


def test_a_folder_is_not_taken_for_a_published_file(run_folder, convert, tmp_path):
    with pytest.raises(ConfigError, match="run is a folder; format=published writes it as a file"):
        convert(run_folder, tmp_path / "back")


def test_a_folder_in_use_is_left_alone(published, convert, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"mine is not empty and holds no convert\.json"):
        convert(published, tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigError, match=r"notes\.txt is a file; name a folder"):
        convert(published, tmp_path / "mine" / "notes.txt")


def test_an_earlier_conversion_is_replaced_with_its_policy(published, change, convert, tmp_path):
    convert(published, tmp_path / "back")
    assert (tmp_path / "back" / "policy" / "policy.json").is_file()

    def without_policy(entries):
        entries["policy"] = None
        entries["focuser"] = {n: v for n, v in entries["focuser"].items() if n[:4] == "net."}

    convert(change(without_policy), tmp_path / "back")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [
        *("convert.json", "recognizer")
    ]


def test_an_existing_file_is_not_overwritten(run_folder, published, convert):
    before = published.read_bytes()
    with pytest.raises(ConfigError, match=r"x\.pth\.tar exists already; name a new file"):
        convert(run_folder, published, "format=published")
    assert published.read_bytes() == before


# --- what the published format cannot hold ---


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda: make_policy((48,)), "sees other maps|glance vectors"),
        (lambda: make_policy((48, 5, 5)), "sees other maps"),
        (lambda: _standardising(), r"standardises .*algo\.policy_kwargs\.standardize=false"),
    ],
    ids=["vectors", "other maps", "standardised"],
)
def test_a_policy_that_the_published_network_cannot_be_is_refused(
    run_folder, convert, tmp_path, policy, message
):
    save_policy(policy(), run_folder / "policy", recognizer_sha256="")
    with pytest.raises(CheckpointError, match=message):
        convert(run_folder, tmp_path / "y.pth.tar", "format=published")
    assert not (tmp_path / "y.pth.tar").exists()


def _standardising():
    policy = make_policy(standardize=True)
    policy.fit_scale_once(torch.rand(20, 48, 7, 7))
    return policy


def test_other_pixel_statistics_are_refused(make_recognizer, convert, tmp_path):
    make_recognizer(pixel_mean=(0.5, 0.5, 0.5)).save(tmp_path / "half")
    with pytest.raises(CheckpointError, match=r"its pixel_mean is \(0\.5, 0\.5, 0\.5\), not"):
        convert(tmp_path / "half", tmp_path / "y.pth.tar", "format=published")
