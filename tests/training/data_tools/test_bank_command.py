"""`adafocus bank`, and the commands that take `features=bank:PATH`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from adafocus_env.data.glyphs.drawing import CLASS_NAMES

DRIVER = Path(__file__).parents[1] / "killed_driver.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def run_folder(make_recognizer, tmp_path_factory):
    """A run folder with a recognizer of random weights that fits the tiny videos."""
    folder = tmp_path_factory.mktemp("run")
    sizes = {"num_frames": 2, "frame_size": 112, "patch_size": 32, "hidden_dim": 16}
    make_recognizer(class_names=CLASS_NAMES, **sizes).save(folder / "recognizer")
    return folder


@pytest.fixture(scope="module")
def arguments(tiny, run_folder):
    """What all commands here share."""
    return [*tiny, f"resume={run_folder}"]


@pytest.fixture(scope="module")
def bank(arguments, run_command, tmp_path_factory):
    """Banks of the training and validation videos: their folder, and what was printed."""
    root = tmp_path_factory.mktemp("bank")
    out = {}
    for split in ("train", "val"):
        views = ["views=2", "num_workers=1"] if split == "train" else []
        done = run_command(
            *("bank", *arguments, *views, f"split={split}", f"target={root / 'bank'}"),
            f"output_dir={root / split}",
        )
        assert done.code == 0, done.err
        out[split] = done.out
    return {"folder": root / "bank", **out}


def _contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _run_process(command, cwd, expected=0):
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr


def test_the_size_is_said_first(bank):
    # 2 x 20 x 2 x (48 x 49 + 48 + 16 x 128) x 2 bytes is 0.7 MB.
    first = bank["train"].splitlines()[0]
    assert first.startswith(f"feature bank in {bank['folder'] / 'train'}: 20 videos x 2 views x ")
    assert first.endswith("x 2 frames x (48 x 7 x 7 + 48 + 16 x 128) x 2 bytes = 0.00 GB")
    assert "frames/s" in bank["val"]


def test_clips_are_those_of_stage_2_and_of_evaluation(bank):
    settings = {
        split: json.loads((bank["folder"] / split / "manifest.json").read_text())["settings"]
        for split in ("train", "val")
    }
    clips = {split: settings[split]["preprocessing"] for split in settings}
    assert (clips["train"]["augment"], clips["train"]["sampling"]) == (True, "random")
    assert (clips["val"]["augment"], clips["val"]["sampling"]) == (False, "center")
    assert settings["train"]["dataset"]["videos"] == 20


def test_training_clips_have_the_frames_of_stage_2(make_config):
    for command in ("stage2", "bank"):
        assert make_config(command).policy_frames == 2
        published = make_config(command, "experiment=actnet_patch128", "data_dir=x")
        assert published.policy_frames is None


def test_stage_2_evaluate_and_benchmark_use_a_bank(arguments, bank, run_command, tmp_path):
    features = f"features=bank:{bank['folder']}"
    stage2 = [*arguments, features, "reward=expected", f"output_dir={tmp_path / 'stage2'}"]
    done = run_command("stage2", *stage2)
    assert done.code == 0, done.err
    log = (tmp_path / "stage2" / "stage2.log").read_text()
    assert f"bank:{bank['folder']} of train: baseline_positions=grid" in log
    assert f"bank:{bank['folder']} of val: baseline_positions=grid" in log
    results = {}
    judge = [f"resume={tmp_path / 'stage2'}", "split=val", "reward=random"]
    for name, own in {"bank": [features], "live": ["baseline_positions=grid"]}.items():
        for command in ("evaluate", "benchmark"):
            folder = tmp_path / name / command
            done = run_command(command, *arguments, *judge, *own, f"output_dir={folder}")
            assert done.code == 0, done.err
            results[name, command] = json.loads((folder / f"{command}.json").read_text())
            assert results[name, command]["baseline_positions"] == "grid"
    for command in ("evaluate", "benchmark"):
        one, other = results["bank", command], results["live", command]
        assert (one["features"], other["features"]) == (features.partition("=")[2], "live")
        for mine, its in zip(one["policies"], other["policies"], strict=True):
            assert mine["name"] == its["name"]
            assert mine["reward_mean"] == pytest.approx(its["reward_mean"], abs=1e-3)
            assert mine["gmacs_per_video"] == its["gmacs_per_video"]


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("stage2", ["features=bank:missing"], "no feature bank in missing/train: .*target=missing"),
        ("stage2", ["features=bank:{bank}", "action_dim=25"], "positions.count: 16 in .*, 25 here"),
        ("stage2", ["features=bank:{bank}", "policy_frames=3"], "preprocessing.num_frames: 2 in"),
        (
            "stage2",
            ["features=bank:{bank}", "train_sampling=dense"],
            "preprocessing.sampling: rand",
        ),
        ("stage2", ["features=banks"], "features=banks is unknown; known are live, bank:PATH"),
        ("stage3", ["features=bank:{bank}"], "stage3 works on frames and cannot use a bank"),
        (
            "evaluate",
            ["features=bank:{bank}", "policy=center"],
            "no feature bank in .*/test: .*split=test",
        ),
        ("evaluate", ["features=bank:{bank}", "split=val"], "random pixels are not in a bank"),
        ("bank", [], "bank needs target=FOLDER"),
        ("bank", ["target={bank}", "split=val", "views=2"], "views=2 is for split=train"),
        ("bank", ["target={bank}", "split=val", "seed=1"], "episode_seeds.seed: 0 there, 1"),
        ("bank", ["target={bank}", "views=0"], "views=0 must be at least 1"),
    ],
)
def test_what_a_bank_cannot_do_is_one_line(
    arguments, bank, run_command, tmp_path, command, overrides, message
):
    before = _contents(bank["folder"])
    given = [item.format(bank=bank["folder"]) for item in overrides]
    done = run_command(command, *arguments, *given, f"output_dir={tmp_path}")
    assert done.code in (1, 2)
    assert done.err.count("\n") == 1
    assert re.search(message, done.err), done.err
    assert _contents(bank["folder"]) == before


def test_a_bank_of_another_recognizer_is_refused(
    arguments, bank, run_folder, run_command, tmp_path
):
    shutil.copytree(run_folder, tmp_path / "other")
    file = tmp_path / "other" / "recognizer" / "recognizer.safetensors"
    weights = load_file(file)
    weights["glancer.net.features.0.0.weight"] *= 1.5
    save_file(weights, file)
    done = run_command(
        *("stage2", *arguments, f"features=bank:{bank['folder']}"),
        *(f"resume={tmp_path / 'other'}", f"output_dir={tmp_path / 'run'}"),
    )
    assert done.code == 1
    assert "was made otherwise: recognizer.glancer_sha256" in done.err


def test_a_disk_that_is_too_small_is_refused_with_the_size_needed(
    arguments, run_command, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    bank = ["bank", *arguments, f"target={tmp_path / 'bank'}", "split=val"]
    done = run_command(*bank, f"output_dir={tmp_path / 'run'}")
    assert done.code == 1
    assert "the feature bank needs 0.00 GB more but the disk of" in done.err
    assert not (tmp_path / "bank").exists()


# A shard of ten syncs four times: its file, the folder, its record, the folder again. Before them
# the settings sync twice; after them the manifest does. The last count is within the manifest.
@pytest.mark.parametrize("count", [1, 3, 5, 21, 43])
def test_a_killed_build_ends_with_the_bytes_of_an_uninterrupted_one(
    arguments, bank, run_command, tmp_path, count
):
    target = [f"target={tmp_path / 'bank'}", "split=val", f"output_dir={tmp_path / 'run'}"]
    command = ["bank", *arguments, *target]
    _run_process(
        [sys.executable, str(DRIVER), "sync", str(count), *command], tmp_path, -signal.SIGKILL
    )
    begun = tmp_path / "bank" / "val"
    assert not (begun / "manifest.json").exists()
    shards = {path: path.stat().st_mtime_ns for path in begun.glob("shard-*")}
    recorded = len(list((begun / "building").glob("shard-*")))
    assert recorded == {1: 0, 3: 0, 5: 0, 21: 4, 43: 10}[count]
    done = run_command(*command)
    assert done.code == 0, done.err
    assert _contents(begun) == _contents(bank["folder"] / "val")
    kept = [path for path, time in shards.items() if path.stat().st_mtime_ns == time]
    assert len(kept) >= recorded


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_write_the_bytes_of_one(arguments, bank, tmp_path):
    given = ["split=train", "views=2", f"target={tmp_path / 'bank'}"]
    _run_process([*TORCHRUN, "-m", "train", "bank", *arguments, *given], tmp_path)
    assert _contents(tmp_path / "bank" / "train") == _contents(bank["folder"] / "train")
