"""`adafocus bank`, and the commands that take `features=bank:PATH`."""

import json
import os
import re
import shutil
import signal
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def resume(handed_on):
    return f"resume={handed_on['stage1']}"


@pytest.fixture(scope="module")
def bank(resume, run_tiny, tmp_path_factory):
    """Banks of the training and validation videos: their folder, and what was printed."""
    root = tmp_path_factory.mktemp("bank")
    out = {}
    for split in ("train", "val"):
        views = ["views=2", "num_workers=1"] if split == "train" else []
        given = [resume, *views, f"split={split}", f"target={root / 'bank'}"]
        out[split] = run_tiny("bank", root / split, *given).out
    return {"folder": root / "bank", **out}


def _contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_size_is_said_first(bank):
    # 2 x 20 x 2 x (48 x 49 + 48 + 16 x 128) x 2 bytes is 0.7 MB.
    first = bank["train"].splitlines()[0]
    assert first.startswith(f"feature bank in {bank['folder'] / 'train'}: 20 videos x 2 views x ")
    assert first.endswith("x 2 frames x (48 x 7 x 7 + 48 + 16 x 128) x 2 bytes = 711.7 kB")
    assert "frames/s" in bank["val"]


def test_clips_are_those_of_stage_2_and_of_evaluation(bank, make_config):
    for split, drawn in (("train", (True, "random", 20)), ("val", (False, "center", 10))):
        manifest = json.loads((bank["folder"] / split / "manifest.json").read_text())
        settings = manifest["settings"]
        clips, videos = settings["preprocessing"], settings["dataset"]["videos"]
        assert (clips["augment"], clips["sampling"], videos) == drawn
    for command in ("stage2", "bank"):
        assert make_config(command).policy_frames is None
        published = make_config(command, "experiment=actnet_patch128", "data_dir=x")
        assert published.policy_frames is None


def test_stage_2_evaluate_and_benchmark_use_a_bank(resume, bank, run_tiny, tmp_path):
    features = f"features=bank:{bank['folder']}"
    run_tiny("stage2", tmp_path / "stage2", resume, features, "reward=expected")
    log = (tmp_path / "stage2" / "stage2.log").read_text()
    for split in ("train", "val"):
        assert f"bank:{bank['folder']} of {split}: baseline_positions=grid" in log
    judge = [f"resume={tmp_path / 'stage2'}", "split=val", "reward=random"]
    for command, more in (("evaluate", []), ("benchmark", ["policies=[random,learned]"])):
        results = []
        for name, own in {"bank": features, "live": "baseline_positions=grid"}.items():
            folder = tmp_path / name / command
            run_tiny(command, folder, *judge, own, *more)
            results.append(json.loads((folder / f"{command}.json").read_text()))
            assert results[-1]["baseline_positions"] == "grid"
        one, other = results
        assert (one["features"], other["features"]) == (f"bank:{bank['folder']}", "live")
        for mine, its in zip(one["policies"], other["policies"], strict=True):
            assert mine["reward_mean"] == pytest.approx(its["reward_mean"], abs=1e-3)
            for field in ("name", "gmacs_per_video"):
                assert mine[field] == its[field]


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("stage2", "features=bank:missing", "no feature bank in missing/train: .*target=missing"),
        ("stage2", "features=bank:{bank} action_dim=25", "positions.count: 16 there, 25 here"),
        ("stage2", "features=bank:{bank} policy_frames=3", "preprocessing.num_frames: 2 there, 3"),
        ("stage2", "features=bank:{bank} train_sampling=dense", "preprocessing.sampling: random t"),
        ("stage2", "features=banks", "features=banks is unknown; known are live, bank:PATH"),
        ("evaluate", "features=bank:{bank} policy=center", "no feature bank in .*/test: .*=test"),
        ("evaluate", "features=bank:{bank} split=val", "random pixels are not in a bank"),
        ("bank", "", "bank needs target=FOLDER"),
        ("bank", "target={bank} split=val views=2", "views=2 is for split=train"),
        ("bank", "target={bank} split=val seed=1", "episode_seeds.seed: 0 there, 1"),
        ("bank", "target={bank} views=0", "views=0 must be at least 1"),
    ],
)
def test_what_a_bank_cannot_do_is_one_line(resume, bank, refused, command, overrides, message):
    before = _contents(bank["folder"])
    said = refused(command, resume, *overrides.format(bank=bank["folder"]).split())
    assert re.search(message, said), said
    assert _contents(bank["folder"]) == before


def test_a_bank_of_another_recognizer_is_refused(bank, handed_on, refused, tmp_path):
    other = shutil.copytree(handed_on["stage1"], tmp_path / "other")
    file = other / "recognizer" / "recognizer.safetensors"
    weights = load_file(file)
    weights["glancer.net.features.0.0.weight"] *= 1.5
    save_file(weights, file)
    said = refused("stage2", f"features=bank:{bank['folder']}", f"resume={other}")
    assert "was made otherwise: recognizer.glancer_sha256" in said


def test_a_disk_that_is_too_small_is_refused_with_the_size_needed(
    resume, refused, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    said = refused("bank", resume, f"target={tmp_path / 'bank'}", "split=val")
    assert "MB more but the disk of" in said
    assert not (tmp_path / "bank" / "val").exists()


# A shard of ten syncs four times: its file, the folder, its record, the folder again. Before them
# the configuration and the settings sync twice each; after them the manifest does. The last count
# is within the manifest.
@pytest.mark.parametrize(
    ("how", "count", "recorded"),
    [("cut", 3, 0), ("killed", 5, 0), ("cut", 7, 0), ("cut", 23, 4), ("killed", 45, 10)],
)
def test_a_build_that_ended_early_is_continued_to_the_same_bytes(
    tiny, resume, bank, run_command, run_process, cut, tmp_path, how, count, recorded
):
    command = ["bank", *tiny, resume, f"target={tmp_path / 'bank'}", "split=val"]
    command.append(f"output_dir={tmp_path / 'run'}")
    if how == "cut":
        cut(os, "fsync", count, run_command, *command)
    else:
        run_process("killed", count, *command, cwd=tmp_path, code=-signal.SIGKILL)
    begun = tmp_path / "bank" / "val"
    assert not (begun / "manifest.json").exists()
    shards = {path: path.stat().st_mtime_ns for path in begun.glob("shard-*")}
    assert len(list((begun / "building").glob("shard-*"))) == recorded
    run_command(*command)
    assert _contents(begun) == _contents(bank["folder"] / "val")
    unchanged = [path for path, time in shards.items() if path.stat().st_mtime_ns == time]
    assert len(unchanged) >= recorded


def test_a_flipped_byte_is_found_by_check_bank_and_that_shard_alone_made_anew(
    tiny, resume, bank, run_command, tmp_path
):
    folder = shutil.copytree(bank["folder"], tmp_path / "bank")
    check = ["check-bank", f"source={folder}", f"output_dir={tmp_path / 'check'}"]
    assert "shards of the bank in" in run_command(*check).out
    shard, other = (folder / "val" / f"shard-0000{number}.safetensors" for number in (2, 3))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    done = run_command(*check, code=1)
    assert (
        f"1 files of the bank in {folder} are damaged or missing, the first is {shard}" in done.err
    )
    report = json.loads((tmp_path / "check" / "check_bank.json").read_text())
    assert report["damaged"] == [str(shard)]
    time = other.stat().st_mtime_ns
    again = ["bank", *tiny, resume, f"target={folder}", "split=val"]
    run_command(*again, f"output_dir={tmp_path / 'again'}")
    assert _contents(folder) == _contents(bank["folder"])
    assert other.stat().st_mtime_ns == time
    shutil.rmtree(folder / "train", ignore_errors=True)
    (folder / "val" / "manifest.json").write_text("{}")
    assert "format_version is missing" in run_command(*check, code=1).out
    empty = [check[0], f"source={tmp_path / 'check'}", check[2]]
    assert "no feature bank in" in run_command(*empty, code=1).err


@pytest.mark.distributed
def test_two_processes_write_the_bytes_of_one(tiny, resume, bank, run_two, tmp_path):
    given = [resume, "split=train", "views=2", f"target={tmp_path / 'bank'}"]
    run_two("adafocus", "bank", *tiny, *given, cwd=tmp_path)
    assert _contents(tmp_path / "bank" / "train") == _contents(bank["folder"] / "train")
