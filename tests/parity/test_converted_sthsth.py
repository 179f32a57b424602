"""Published Something-Something files, made from their list of keys, through `adafocus convert`."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console

import fill_rule
import published_shift_run as run
from adafocus_env.networks import ShiftRecognizer
from agents.policies.policy_files import load_policy
from train.checkpoints.convert import run_convert
from train.cli.resolvers import register_resolvers
from train.config.paths import configs_path
from train.config.sections import ConfigError, read_config
from train.runs.progress import ProgressDisplay

EXPERIMENT = "experiment=sthsth_v1_patch144"
KEYS = json.loads(Path(__file__).with_name("checkpoint_keys_sthsth.json").read_text())
# Sections of the list, and what the keys of their entries begin with in the rule.
PREFIXES = {"glancer": "glancer.", "focuser": "focuser.", "fc": "classifier."}


def _section(name, prefix):
    return {key: fill_rule.filled(f"{prefix}{key}", shape) for key, shape in KEYS[name].items()}


def _convert(folder, source, target, *given):
    """What `adafocus convert` prints, in this process."""
    register_resolvers()
    files = [f"source={folder / source}", f"target={folder / target}", f"output_dir={folder}"]
    with initialize_config_dir(str(configs_path()), version_base="1.3"):
        cfg = compose("config", overrides=["command=convert", *files, *given])
    out = io.StringIO()
    run_convert(read_config(cfg), ProgressDisplay(Console(file=out, width=200)))
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds `s3.pth.tar` of a stage 3, `ours/` made of it, and `again.pth.tar` made of that."""
    folder = tmp_path_factory.mktemp("converted")
    policy = _section("policy_continuous_bn", "policy.")
    entries = {
        "epoch": 10,
        "model_state_dict": {},
        **{name: _section(name, prefix) for name, prefix in PREFIXES.items()},
        "policy": policy,
        "acc": torch.tensor([46.5]),
        "best_acc": torch.tensor([47.0]),
        "optimizer": None,
    }
    torch.save(entries, folder / "s3.pth.tar")
    printed = _convert(folder, "s3.pth.tar", "ours", EXPERIMENT)
    assert "num_classes=174" in printed
    _convert(folder, "ours", "again.pth.tar", EXPERIMENT, "format=published")
    return folder


def test_every_weight_of_a_published_file_arrives(folder, shift_recognizer):
    loaded = ShiftRecognizer.load(folder / "ours" / "recognizer")
    expected = shift_recognizer.state_dict()
    for name, value in loaded.state_dict().items():
        if name.startswith("focuser.net.fc."):  # lost in published files; nothing uses it
            assert not value.any()
        else:
            assert torch.equal(value, expected[name]), name
    report = json.loads((folder / "ours" / "convert.json").read_text())
    read = {part: item["read"] for part, item in report["weights"].items()}
    assert read == {"glancer": 314, "focuser": 320, "classifier": 2, "policy": 21}
    assert not any(item["unexpected"] for item in report["weights"].values())
    assert (report["epoch"], report["best_acc"], report["action_dim"]) == (10, 47.0, None)


def test_a_converted_checkpoint_gives_the_recorded_logits(
    folder, shift_recognizer, shift_focus_frames, shift_glances
):
    loaded = ShiftRecognizer.load(folder / "ours" / "recognizer").eval()
    loaded.pixel_mean, loaded.pixel_std = shift_recognizer.pixel_mean, shift_recognizer.pixel_std
    with np.load(Path(__file__).with_name("golden_sthsth.npz")) as golden:
        expected, offsets = golden["b_final_logits"][3], golden["b_loc_offsets"][3]
    places = torch.from_numpy(offsets).long()
    look = run.run_look(shift_focus_frames, places, shift_glances["pooled"][:2], loaded)
    limit = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(look["final_logits"].numpy(), expected, rtol=0.0, atol=limit)


def test_the_policy_looks_where_the_published_one_looks(folder, shift_glances):
    policy = load_policy(folder / "ours" / "policy").policy
    maps = shift_glances["map"][:2].flatten(1, 2)
    places, _ = policy.predict(maps.numpy(), deterministic=True)
    with np.load(Path(__file__).with_name("golden_sthsth.npz")) as golden:
        np.testing.assert_allclose(places, golden["i_cont_loc"], rtol=0.0, atol=1e-4)


def test_the_way_back_gives_the_published_keys_and_every_bit(folder):
    one, other = (
        torch.load(folder / name, weights_only=True) for name in ("s3.pth.tar", "again.pth.tar")
    )
    assert list(other) == list(one)
    for entry in ("glancer", "focuser", "fc", "policy"):
        assert other[entry].keys() == one[entry].keys()
        assert all(torch.equal(one[entry][name], other[entry][name]) for name in one[entry])
    names = {f"{prefix}{key}" for part, prefix in PREFIXES.items() for key in KEYS[part]}
    assert other["model_state_dict"].keys() == names
    assert (other["epoch"], other["best_acc"].item()) == (10, 47.0)


def test_a_file_of_the_other_family_is_refused_with_the_experiment_to_give(folder):
    with pytest.raises(ConfigError, match=r"family=temporal_shift.*experiment=sthsth_v1_patch144"):
        _convert(folder, "s3.pth.tar", "no", "experiment=actnet_patch128")
