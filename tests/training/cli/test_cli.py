"""The command line: help at once, exit codes, and where it works."""

import os
from datetime import datetime

import pytest

import adafocus_env
from train.cli.commands import COMMANDS
from train.cli.run_place import DEMO_FOLDER, set_aside
from train.config.commands import CONFIGS
from train.config.keys import keys_of

VERSION = f"adafocus-env {adafocus_env.__version__}\n"


def test_help_and_version_come_without_torch_or_hydra(run_process, tmp_path):
    script = f"""
import sys
from train.cli.main import main
assert main(["--help"]) == 0
assert main(["--version"]) == 0
for name in {list(COMMANDS)!r}:
    assert main([name, "--help"]) == 0
    assert main([name, "seed=1", "-h"]) == 0
assert main(["stage7"]) == 2
assert main([]) == 2
heavy = {{"torch", "torchvision", "hydra", "omegaconf", "stable_baselines3", "cv2", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    assert VERSION in run_process("python", "-c", script, cwd=None).stdout


def test_the_overview_names_every_command_and_the_version_is_the_packages(run_command):
    for asked, code in (["-h"], 0), (["--help"], 0), (["help"], 0), ([], 2):
        done = run_command(*asked, code=code)
        assert "usage: adafocus COMMAND" in done.out
        lines = [line.split(maxsplit=1) for line in done.out.splitlines()]
        for name, command in COMMANDS.items():
            assert any(line[:1] == [name] and command.summary in line[1] for line in lines), name
    assert run_command("--version").out == VERSION


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_names_its_keys_what_most_runs_of_a_stage_set_first(run_command, name):
    out = run_command(name, "--help").out
    assert f"usage: adafocus {name} [key=value ...]" in out
    for key in keys_of(CONFIGS[name]):
        assert out.count(f"\n  {key}=") == 1
    assert max(map(len, out.splitlines()[1:])) <= 100
    first_screen = "\n".join(out.splitlines()[:40])
    for key in ("experiment", "resume", "data_dir", "epochs", "batch_size"):
        assert f"\n  {key}=" in first_screen or not name.startswith("stage")


@pytest.mark.parametrize(
    ("given", "nearest"), [("stage4", "stage"), ("benchmrk", "benchmark"), ("dmeo", "demo")]
)
def test_an_unknown_command_is_refused_with_the_nearest(run_command, given, nearest):
    done = run_command(given, code=2)
    assert done.out == ""
    assert f"unknown command {given!r}; did you mean '{nearest}" in done.err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "adafocus stage1: unknown configuration key 'epoch'; did you mean epochs=?"),
        ("experiment=glyph", "unknown experiment=glyph; did you mean experiment=glyphs?"),
        ("epochs=[1", "epochs=[1 cannot be read: a text with"),
        ("recipes.stage1.epoch=1", "Could not override 'recipes.stage1.epoch'"),
    ],
)
def test_what_cannot_be_read_ends_the_command_before_anything_is_written(
    run_command, tmp_path, override, message
):
    done = run_command("stage1", f"output_dir={tmp_path / 'run'}", override, code=2)
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_what_is_refused_further_down_ends_the_command_with_one_line(run_command, tmp_path):
    place = f"output_dir={tmp_path / 'run'}"
    said = run_command("stage2", place, "algo.learning_rat=1", code=1).err
    assert "did you mean 'learning_rate'" in said
    assert "Traceback" not in said
    said = run_command("stage1", place, "epochs=0", code=1).err
    assert said == "adafocus stage1: epochs=0 must be at least 1\n"


@pytest.mark.parametrize("order", [["epochs=3", "--cfg=job"], ["--cfg=job", "epochs=3"]], ids=str)
def test_hydra_can_show_the_configuration(run_command, tmp_path, order):
    out = run_command("stage1", f"output_dir={tmp_path / 'run'}", *order).out
    assert "command: stage1\n" in out
    assert "epochs: 3\n" in out
    assert not (tmp_path / "run").exists()


def test_it_works_from_a_folder_with_a_train_and_agents_of_its_own(run_process, tmp_path):
    (tmp_path / "train.py").write_text("raise SystemExit('the wrong train')\n")
    for package in ("agents", "configs", "adafocus_env"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    done = run_process("adafocus", "stage1", cwd=tmp_path, without=("PYTHONPATH",), code=1)
    assert done.stderr.startswith("adafocus stage1: stage1 needs pretrained_glancer=RUN_FOLDER")
    (run,) = (tmp_path / "outputs").glob("*/*")
    assert (run / "config.yaml").is_file()


def test_it_can_be_run_as_a_module(run_process):
    assert run_process("python", "-m", "train", "--version", cwd=None).stdout == VERSION


@pytest.mark.parametrize("command", [["--help"], ["stage2", "--help"], ["flops"]])
def test_a_reader_that_leaves_ends_the_command_quietly(run_process, tmp_path, command):
    given = [] if "--help" in command else [f"output_dir={tmp_path}"]
    reading, writing = os.pipe()
    os.close(reading)
    started = ("python", "-m", "train", *command, *given)
    assert run_process(*started, cwd=None, stdout=writing, code=141).stderr == ""
    os.close(writing)


def test_paths_with_special_characters_reach_the_command(run_command, tmp_path):
    folder = tmp_path / "a [b]=c, (it's)"
    run_command("flops", f"output_dir={folder}")
    assert (folder / "flops.json").is_file()
    assert (folder / "flops.log").is_file()


def test_looking_at_the_demos_configuration_leaves_an_earlier_demo_in_its_place(
    run_command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEMO_FOLDER).mkdir(parents=True)
    run_command("demo", "--cfg=job")
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["demo"]


def test_a_folder_is_renamed_after_when_it_was_written_and_meets_no_other(tmp_path):
    folder = tmp_path / "demo"
    assert set_aside(folder) is None  # where there is nothing, nothing is renamed
    assert list(tmp_path.iterdir()) == []
    when = datetime(2024, 3, 5, 14, 7, 9).timestamp()
    names = []
    for number in range(3):
        folder.mkdir()
        (folder / "file").write_text(str(number))
        os.utime(folder, (when, when))
        names.append(set_aside(folder))
        assert not folder.exists()
    assert names[0] == tmp_path / "demo-20240305-140709"
    assert len(set(names)) == 3
    assert [(path / "file").read_text() for path in names] == ["0", "1", "2"]
