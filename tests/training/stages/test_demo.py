"""The demo in tiny form: what it writes, and that an earlier one is kept."""

import json
import os
from datetime import datetime

import pytest
import yaml

from adafocus_env.networks import Recognizer
from train import demo as module
from train.cli.run_place import DEMO_FOLDER, set_aside

PARTS = ["stage0_glancer", "stage0_focuser", "stage1", "stage2"]
PARTS += ["stage3_random", "stage3_center", "stage3_learned"]


@pytest.fixture(scope="module")
def demo(run_command, tiny, shrink_splits, tmp_path_factory):
    """A demo where an earlier one was; its working folder and what it printed."""
    here = tmp_path_factory.mktemp("demo")
    (here / DEMO_FOLDER).mkdir(parents=True)
    (here / DEMO_FOLDER / "note.txt").write_text("the earlier one")
    with pytest.MonkeyPatch.context() as patch:
        shrink_splits(patch)
        patch.chdir(here)
        patch.setattr(module, "shipped_recognizer", lambda: here / "shipped")
        done = run_command("demo", *tiny, "ship=true")
    assert done.code == 0, done.err
    return here, done.out


def test_every_part_has_its_folder_and_resolved_configuration(demo):
    folder = demo[0] / DEMO_FOLDER
    for part in PARTS:
        config = yaml.safe_load((folder / part / "config.yaml").read_text())
        assert config["command"] == part.split("_")[0]
        assert config["epochs"] == 1
        assert (folder / part / "tensorboard").is_dir()
    assert (folder / "config.yaml").is_file()
    assert (folder / "demo.log").read_text().strip()


def test_the_benchmark_compares_the_four_policies(demo):
    result = json.loads((demo[0] / DEMO_FOLDER / "benchmark.json").read_text())
    names = [policy["name"] for policy in result["policies"]]
    assert names == ["random", "center", "learned", "greedy_oracle"]
    assert (result["videos"], result["split"]) == (12, "test")
    owners = [policy["name"] for policy in result["policies"] if policy["classifier"] == "own"]
    assert owners == ["random", "center", "learned"]


def test_it_ends_with_the_table_and_the_paths_of_what_to_look_at(demo):
    here, out = demo
    table, _, looks = out.partition("What to look at:")
    assert sum(line.split()[:1] == ["greedy_oracle"] for line in table.splitlines()) == 2
    paths = [word for line in looks.splitlines() for word in line.split()[:1]]
    shown = [path for path in paths if path.startswith(str(DEMO_FOLDER))]
    assert len(shown) >= 6
    for path in shown:
        assert (here / path).exists(), path
    assert "gymnasium.make" in looks


def test_each_part_is_one_line_without_a_terminal(demo):
    lines = demo[1].splitlines()
    for part in ("stage 0: glancer", "stage 1: random patches", "stage 2: policy"):
        assert sum(line.startswith(f"{part}: ") for line in lines) == 1
    assert sum(line.startswith("stage 3: ") for line in lines) == 3


def test_the_earlier_demo_is_renamed_and_nothing_is_lost(demo):
    here, out = demo
    (earlier,) = (here / "outputs").glob("demo-*")
    assert (earlier / "note.txt").read_text() == "the earlier one"
    assert not (here / DEMO_FOLDER / "note.txt").exists()
    assert f"an earlier {DEMO_FOLDER} is now outputs/{earlier.name}" in out


def test_it_ships_the_recognizer_of_stage_1(demo):
    shipped = Recognizer.load(demo[0] / "shipped")
    expected = Recognizer.load(demo[0] / DEMO_FOLDER / "stage1" / "recognizer")
    assert shipped.fingerprint() == expected.fingerprint()


def test_the_recognizer_of_stage_1_is_the_one_that_rewards_are_measured_with(demo):
    result = json.loads((demo[0] / DEMO_FOLDER / "benchmark.json").read_text())
    stage1 = Recognizer.load(demo[0] / DEMO_FOLDER / "stage1" / "recognizer")
    assert result["recognizer_sha256"] == stage1.fingerprint()


def test_looking_at_the_demos_configuration_leaves_an_earlier_demo_in_its_place(
    run_command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEMO_FOLDER).mkdir(parents=True)
    assert run_command("demo", "--cfg=job").code == 0
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["demo"]


# --- set_aside ---


def test_where_there_is_nothing_nothing_is_renamed(tmp_path):
    assert set_aside(tmp_path / "demo") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_renamed_after_when_it_was_written(tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "file").write_text("kept")
    when = datetime(2024, 3, 5, 14, 7, 9).timestamp()
    os.utime(folder, (when, when))
    target = set_aside(folder)
    assert target == tmp_path / "demo-20240305-140709"
    assert (target / "file").read_text() == "kept"
    assert not folder.exists()


def test_two_folders_of_the_same_second_do_not_meet(tmp_path):
    folder = tmp_path / "demo"
    names = []
    for number in range(3):
        folder.mkdir()
        (folder / "file").write_text(str(number))
        os.utime(folder, (1e9, 1e9))
        target = set_aside(folder)
        assert target is not None
        names.append(target)
    assert len(set(names)) == 3
    assert [(path / "file").read_text() for path in names] == ["0", "1", "2"]
