"""The command line: help at once, exit codes, and where it works."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

import adafocus_env
from train.cli.run_place import DEMO_FOLDER, set_aside
from train.config.commands import COMMANDS

CONSOLE_COMMAND = Path(sys.executable).with_name("adafocus")


def test_help_and_version_come_without_torch_or_hydra():
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
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert adafocus_env.__version__ in done.stdout


def test_the_overview_names_every_command_and_the_version_is_the_packages(run_command):
    for asked, code in (["-h"], 0), (["--help"], 0), (["help"], 0), ([], 2):
        done = run_command(*asked, code=code)
        assert "usage: adafocus COMMAND" in done.out
        lines = [line.split(maxsplit=1) for line in done.out.splitlines()]
        for name, command in COMMANDS.items():
            assert any(line[:1] == [name] and command.summary in line[1] for line in lines), name
    assert run_command("--version").out == f"adafocus-env {adafocus_env.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_names_its_keys(run_command, name):
    done = run_command(name, "--help")
    assert f"usage: adafocus {name} [key=value ...]" in done.out
    for key in COMMANDS[name].keys:
        assert done.out.count(f"\n  {key}=") == 1
    assert max(map(len, done.out.splitlines()[1:])) <= 100


@pytest.mark.parametrize("stage", ["stage0", "stage1", "stage2", "stage3"])
def test_a_stages_help_begins_with_what_most_runs_set(run_command, stage):
    first_screen = "\n".join(run_command(stage, "--help").out.splitlines()[:40])
    for key in ("experiment", "resume", "data_dir", "epochs", "batch_size"):
        assert f"\n  {key}=" in first_screen


@pytest.mark.parametrize(
    ("given", "nearest"), [("stage4", "stage"), ("benchmrk", "benchmark"), ("dmeo", "demo")]
)
def test_an_unknown_command_is_refused_with_the_nearest(run_command, given, nearest):
    done = run_command(given, code=2)
    assert done.out == ""
    assert f"unknown command {given!r}; did you mean '{nearest}" in done.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epoch=3"], "adafocus stage1: unknown configuration key 'epoch'; did you mean epochs=?"),
        (["experiment=glyph"], "unknown experiment=glyph; did you mean experiment=glyphs?"),
        (["epochs=[1"], "epochs=[1 cannot be read: a text with"),
        (["recipes.stage1.epoch=1"], "Could not override 'recipes.stage1.epoch'"),
    ],
)
def test_an_unknown_key_ends_the_command_before_anything_is_written(
    run_command, tmp_path, overrides, message
):
    done = run_command("stage1", f"output_dir={tmp_path / 'run'}", *overrides, code=2)
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_what_is_refused_further_down_ends_the_command_with_one_line(run_command, tmp_path):
    done = run_command("stage2", f"output_dir={tmp_path / 'run'}", "algo.learning_rat=1", code=1)
    assert "did you mean 'learning_rate'" in done.err
    assert "Traceback" not in done.err
    done = run_command("stage1", f"output_dir={tmp_path / 'run'}", "epochs=0", code=1)
    assert done.err == "adafocus stage1: epochs=0 must be at least 1\n"


@pytest.mark.parametrize("order", [["epochs=3", "--cfg=job"], ["--cfg=job", "epochs=3"]], ids=str)
def test_hydra_can_show_the_configuration(run_command, tmp_path, order):
    done = run_command("stage1", f"output_dir={tmp_path / 'run'}", *order)
    assert "command: stage1\n" in done.out
    assert "epochs: 3\n" in done.out
    assert not (tmp_path / "run").exists()


def test_it_works_from_a_folder_with_a_train_and_agents_of_its_own(tmp_path):
    (tmp_path / "train.py").write_text("raise SystemExit('the wrong train')\n")
    for package in ("agents", "configs", "adafocus_env"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    done = subprocess.run(
        [CONSOLE_COMMAND, "stage1"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("adafocus stage1: stage1 needs pretrained_glancer=RUN_FOLDER")
    (run,) = (tmp_path / "outputs").glob("*/*")
    assert (run / "config.yaml").is_file()


def test_it_can_be_run_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "train", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"adafocus-env {adafocus_env.__version__}\n")


@pytest.mark.parametrize("command", [["--help"], ["stage2", "--help"], ["flops"]])
def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path, command):
    given = [] if "--help" in command else [f"output_dir={tmp_path}"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "train", *command, *given],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


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
