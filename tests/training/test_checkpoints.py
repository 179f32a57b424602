"""What stages hand on: finding parts, stage-0 weights, and messages that name the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adafocus_env.networks import CheckpointError, Focuser, Glancer, Recognizer
from train.checkpoints import find_part, load_backbone, load_recognizer, save_backbone
from train.config import ConfigError

NAMES = ("class 0", "class 1", "class 2")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A stage-0 run folder that holds a glancer."""
    torch.manual_seed(0)
    network = Glancer("mobilenet_v2_small", 3)
    save_backbone(network, "mobilenet_v2_small", NAMES, tmp_path / "run" / "glancer")
    return tmp_path / "run"


def test_a_part_is_found_in_its_run_folder_and_by_itself(run: Path) -> None:
    for path in (run, run / "glancer"):
        assert find_part(str(path), "glancer", "adafocus stage0") == run / "glancer"


@pytest.mark.parametrize("part", ["recognizer", "policy", "glancer", "focuser"])
def test_a_missing_part_is_named_with_the_command_that_makes_it(tmp_path: Path, part: str) -> None:
    for folder in (tmp_path, tmp_path / "not there"):
        with pytest.raises(ConfigError, match=f"no {part} in {folder}; 'adafocus this' makes one"):
            find_part(str(folder), part, "adafocus this")


def test_another_part_is_not_taken_for_the_one_asked_for(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"no focuser in .*run; 'adafocus stage0' makes one"):
        find_part(str(run), "focuser", "adafocus stage0")
    with pytest.raises((ConfigError, FileNotFoundError), match=r"no recognizer in .*glancer"):
        load_recognizer(str(run / "glancer"), "resume", "cpu")


def test_a_recognizer_is_loaded_from_its_run(
    make_recognizer: Callable[..., Recognizer], tmp_path: Path
) -> None:
    recognizer = make_recognizer()
    recognizer.save(tmp_path / "run" / "recognizer")
    for path in (tmp_path / "run", tmp_path / "run" / "recognizer"):
        loaded = load_recognizer(str(path), "resume", "cpu")
        assert loaded.fingerprint() == recognizer.fingerprint()


def test_a_stage_without_its_checkpoint_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs resume=RUN_FOLDER; 'adafocus stage1' makes one"):
        load_recognizer(None, "resume", "cpu")
    with pytest.raises(ConfigError, match=r"no recognizer in .*; 'adafocus stage1' makes one"):
        load_recognizer(str(tmp_path), "resume", "cpu")


def test_a_backbone_is_loaded_as_it_was_saved(run: Path) -> None:
    torch.manual_seed(1)
    network = Glancer("mobilenet_v2_small", 3)
    load_backbone(network, "mobilenet_v2_small", str(run), "glancer")
    torch.manual_seed(0)
    expected = Glancer("mobilenet_v2_small", 3).state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_backbone_is_saved_as_two_files_that_hold_no_code(run: Path) -> None:
    files = sorted(path.name for path in (run / "glancer").iterdir())
    assert files == ["backbone.json", "backbone.safetensors"]
    description = json.loads((run / "glancer" / "backbone.json").read_text())
    assert description == {"backbone": "mobilenet_v2_small", "class_names": list(NAMES)}
    assert "net.features.0.0.weight" in load_file(run / "glancer" / "backbone.safetensors")


def test_weights_of_another_backbone_are_refused(run: Path) -> None:
    message = "holds a mobilenet_v2_small, but the focuser is a resnet_small"
    with pytest.raises(CheckpointError, match=message):
        load_backbone(Focuser("resnet_small", 3), "resnet_small", str(run / "glancer"), "focuser")


def test_weights_for_other_classes_are_refused(run: Path) -> None:
    with pytest.raises(CheckpointError, match="does not fit this glancer"):
        load_backbone(Glancer("mobilenet_v2_small", 4), "mobilenet_v2_small", str(run), "glancer")


@pytest.mark.parametrize(
    ("part", "command"),
    [
        ("glancer", "adafocus stage0 pretrain_glancer=true"),
        ("focuser", "adafocus stage0 pretrain_glancer=false"),
    ],
)
def test_a_missing_backbone_is_named_with_its_command(
    tmp_path: Path, part: str, command: str
) -> None:
    with pytest.raises(ConfigError, match=f"no {part} in {tmp_path}; '{command}' makes one"):
        load_backbone(torch.nn.Identity(), "resnet_small", str(tmp_path), part)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "7"])
def test_a_description_that_is_none_is_a_checkpoint_error(run: Path, content: str) -> None:
    (run / "glancer" / "backbone.json").write_text(content)
    with pytest.raises(CheckpointError, match=str(run)):
        load_backbone(Glancer("mobilenet_v2_small", 3), "mobilenet_v2_small", str(run), "glancer")


@pytest.mark.parametrize("content", [b"", b"not safetensors"], ids=repr)
def test_weights_that_cannot_be_read_are_a_checkpoint_error(run: Path, content: bytes) -> None:
    (run / "glancer" / "backbone.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=str(run)):
        load_backbone(Glancer("mobilenet_v2_small", 3), "mobilenet_v2_small", str(run), "glancer")


def test_missing_weights_are_named(run: Path) -> None:
    (run / "glancer" / "backbone.safetensors").unlink()
    with pytest.raises((CheckpointError, OSError), match=str(run)):
        load_backbone(Glancer("mobilenet_v2_small", 3), "mobilenet_v2_small", str(run), "glancer")
