"""Published files of both families, of the recorded weights, through `adafocus convert`."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import published_shift_run
from adafocus_env.networks import Recognizer, ShiftRecognizer
from agents.policies.policy_files import load_policy
from comparison import recorded
from fill_rule import filled
from published_policy import parameter_names
from stage_runs import published_config
from train.checkpoints.convert import run_convert
from train.config.keys import ConfigError
from train.runs.progress import ProgressDisplay

pytestmark = pytest.mark.slow

SHIFT_EXPERIMENT = "sthsth_v1_patch144"
SHIFT_KEYS = json.loads(Path(__file__).with_name("checkpoint_keys_sthsth.json").read_text())
# Sections of that list, and what the keys of their entries begin with in the rule.
PREFIXES = {"glancer": "glancer.", "focuser": "focuser.", "fc": "classifier."}


def _convert(experiment, folder, source, target, *given):
    """What `adafocus convert` prints, in this process."""
    files = (f"source={folder / source}", f"target={folder / target}", f"output_dir={folder}")
    config = published_config("convert", *files, *given, experiment=experiment)
    out = io.StringIO()
    run_convert(config, ProgressDisplay(Console(file=out, width=200)))
    return out.getvalue()


def _assert_equal_weights(got, expected):
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert torch.equal(value, expected[name]), name


def test_every_weight_of_an_actnet_file_arrives(networks, tmp_path):
    weights, own = (network.state_dict() for network in networks)

    def below(prefix):
        return {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}

    policy = {name: own[ours] for name, ours in parameter_names(networks[1]).items()}
    acting = {f"policy.policy_old.{name}": value for name, value in policy.items()}
    entries = {
        "epoch": 11,
        "glancer": below("glancer."),
        "focuser": {**below("focuser."), **acting},
        "fc": below("classifier."),
        "policy": policy,
        "acc": torch.tensor(74.5),
        "best_acc": torch.tensor(75.0),
    }
    torch.save(entries, tmp_path / "s3.pth.tar")
    _convert("actnet_patch128", tmp_path, "s3.pth.tar", "ours", "num_frames=4")
    recognizer = Recognizer.load(tmp_path / "ours" / "recognizer")
    acts = load_policy(tmp_path / "ours" / "policy").policy
    for got, expected in zip((recognizer, acts), networks, strict=True):
        _assert_equal_weights(got.state_dict(), expected.state_dict())
    # With these the same weights give the recorded numbers; test_golden_actnet.py compares them.
    grid_ignores = {"clip_log_probs": None}
    assert {**acts.arguments(), **grid_ignores} == {**networks[1].arguments(), **grid_ignores}
    for entry in ("glancer", "focuser", "hidden_dim", "num_frames", "glance_size", "patch_size"):
        assert getattr(recognizer.config, entry) == getattr(networks[0].config, entry)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds `s3.pth.tar` of a stage 3, `ours/` made of it, and `again.pth.tar` made of that."""
    folder = tmp_path_factory.mktemp("converted")

    def section(name, prefix):
        return {key: filled(f"{prefix}{key}", shape) for key, shape in SHIFT_KEYS[name].items()}

    entries = {
        "epoch": 10,
        "model_state_dict": {},
        **{name: section(name, prefix) for name, prefix in PREFIXES.items()},
        "policy": section("policy_continuous_bn", "policy."),
        "acc": torch.tensor([46.5]),
        "best_acc": torch.tensor([47.0]),
        "optimizer": None,
    }
    torch.save(entries, folder / "s3.pth.tar")
    assert "num_classes=174" in _convert(SHIFT_EXPERIMENT, folder, "s3.pth.tar", "ours")
    _convert(SHIFT_EXPERIMENT, folder, "ours", "again.pth.tar", "format=published")
    return folder


def test_every_weight_of_a_something_something_file_arrives(folder, shift_recognizer):
    got = ShiftRecognizer.load(folder / "ours" / "recognizer").state_dict()
    lost = [name for name in got if name.startswith("focuser.net.fc.")]  # nothing uses it
    assert not any(value.any() for value in map(got.pop, lost))
    expected = shift_recognizer.state_dict()
    _assert_equal_weights(got, {name: expected[name] for name in got})
    report = json.loads((folder / "ours" / "convert.json").read_text())
    read = {part: item["read"] for part, item in report["weights"].items()}
    assert read == {"glancer": 314, "focuser": 320, "classifier": 2, "policy": 21}
    assert not any(item["unexpected"] for item in report["weights"].values())
    assert (report["epoch"], report["best_acc"], report["action_dim"]) == (10, 47.0, None)


def test_a_converted_something_something_file_gives_the_recorded_logits_and_places(
    folder, shift_recognizer, shift_focus_frames, shift_glances
):
    arrays = recorded("sthsth")
    names = ("b_final_logits", "b_loc_offsets", "i_cont_loc")
    logits, offsets, places = (arrays[name] for name in names)
    loaded = ShiftRecognizer.load(folder / "ours" / "recognizer").eval()
    loaded.pixel_mean, loaded.pixel_std = shift_recognizer.pixel_mean, shift_recognizer.pixel_std
    at, pooled = torch.from_numpy(offsets[3]).long(), shift_glances["pooled"][:2]
    look = published_shift_run.run_look(shift_focus_frames, at, pooled, loaded)
    limit = 1e-4 * np.abs(logits[3]).max()
    np.testing.assert_allclose(look["final_logits"].numpy(), logits[3], rtol=0.0, atol=limit)
    policy = load_policy(folder / "ours" / "policy").policy
    maps = shift_glances["map"][:2].flatten(1, 2)
    chosen, _ = policy.predict(maps.numpy(), deterministic=True)
    np.testing.assert_allclose(chosen, places, rtol=0.0, atol=1e-4)


def test_the_way_back_gives_the_published_keys_and_every_bit(folder):
    one, other = (
        torch.load(folder / name, weights_only=True) for name in ("s3.pth.tar", "again.pth.tar")
    )
    assert list(other) == list(one)
    for entry in ("glancer", "focuser", "fc", "policy"):
        _assert_equal_weights(other[entry], one[entry])
    names = {f"{prefix}{key}" for part, prefix in PREFIXES.items() for key in SHIFT_KEYS[part]}
    assert other["model_state_dict"].keys() == names
    assert (other["epoch"], other["best_acc"].item()) == (10, 47.0)


def test_a_file_of_the_other_family_is_refused_with_the_experiment_to_give(folder):
    message = rf"family=temporal_shift.*experiment={SHIFT_EXPERIMENT}"
    with pytest.raises(ConfigError, match=message):
        _convert("actnet_patch128", folder, "s3.pth.tar", "no")
