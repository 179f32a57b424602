"""Interrupted runs go on, and end with the weights of uninterrupted ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from train.config.sections import ConfigError
from train.runs.folder import find_continued

DRIVER = Path(__file__).parents[1] / "killed_driver.py"
STATE = "training_state.pt"

# Two updates an epoch: the fifth is in the middle of the third epoch.
STAGES = {
    "stage0": ("glancer", ["pretrain_glancer=true"]),
    "stage1": ("recognizer", ["pretrained_glancer={glancer}", "pretrained_focuser={focuser}"]),
    "stage2": ("policy", ["recognizer={stage1}"]),
    "stage3": ("recognizer", ["recognizer={stage2}"]),
}


@pytest.fixture(scope="module")
def arguments(tiny, pipeline):
    """The arguments of a stage of four epochs, evaluated at the second and the last."""

    def make(stage, folder):
        own = [item.format(**pipeline) for item in STAGES[stage][1]]
        return [stage, *tiny, "epochs=4", "eval_freq=2", f"output_dir={folder}", *own]

    return make


def _kill(moment, count, arguments):
    killed = subprocess.run(
        [sys.executable, str(DRIVER), moment, str(count), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def _weights(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "moment", "count"),
    [
        ("stage0", "step", 5),
        ("stage1", "step", 5),
        # One sync of the file and one of the folder for each state: the third is in the second.
        ("stage1", "sync", 3),
        ("stage2", "step", 15),  # three steps an update
        ("stage3", "step", 5),
    ],
)
def test_a_killed_stage_ends_with_the_weights_of_an_uninterrupted_one(
    arguments, run_command, tmp_path, stage, moment, count
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_command(*arguments(stage, whole)).code == 0
    _kill(moment, count, arguments(stage, broken))
    assert (broken / STATE).is_file()
    done = run_command(*arguments(stage, broken), "resume=auto")
    assert done.code == 0, done.err
    log = (broken / f"{stage}.log").read_text()
    done_epochs = 2 if moment == "step" else 1
    assert f"continuing {stage} in {broken}" in log
    assert f"continuing after epoch {done_epochs} of 4" in log
    part = STAGES[stage][0]
    expected, got = _weights(whole / part), _weights(broken / part)
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
    assert not (broken / STATE).exists()
    assert not list(broken.glob(".*.part"))


@pytest.fixture
def unfinished(arguments, run_command, tmp_path):
    """A stage-1 run that looks as if it had been killed after its last epoch."""
    folder = tmp_path / "unfinished"
    assert run_command(*arguments("stage1", folder)).code == 0
    torch.save({"command": "stage1"}, folder / STATE)
    return folder


def test_an_unfinished_run_is_not_overwritten(arguments, run_command, unfinished):
    done = run_command(*arguments("stage1", unfinished))
    assert done.code == 2
    assert f"{unfinished} holds an unfinished run; add resume=auto" in done.err
    assert (unfinished / STATE).is_file()


def test_other_settings_do_not_continue_a_run(arguments, run_command, unfinished, tmp_path):
    given = arguments("stage1", tmp_path / "new")
    done = run_command(*given, "epochs=5", f"resume={unfinished}")
    assert done.code == 2
    assert f"{unfinished} is an unfinished stage1 with other settings" in done.err
    assert "epochs: 5 here, 4 there" in done.err


def test_a_damaged_training_state_is_one_clear_error(arguments, run_command, unfinished):
    (unfinished / STATE).write_bytes(b"half a file")
    done = run_command(*arguments("stage1", unfinished), "resume=auto")
    assert done.code == 1
    assert f"{unfinished / STATE} is no training state" in done.err
    assert len(done.err.splitlines()) == 1


def _unfinished_run(config, folder, age):
    from omegaconf import OmegaConf

    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(config.plain()), folder / "config.yaml")
    (folder / STATE).write_bytes(b"")
    os.utime(folder / STATE, (1e9 - age, 1e9 - age))
    return folder


def test_auto_takes_the_newest_unfinished_run_of_the_same_stage_and_settings(
    make_config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = make_config("stage1", "resume=auto", "epochs=7")
    assert find_continued(config, None) is None
    outputs = Path("outputs/2026-01-01")
    same = make_config("stage1", "epochs=7", "num_workers=1")
    _unfinished_run(same, outputs / "older", age=30)
    newest = _unfinished_run(same, outputs / "newer", age=20)
    _unfinished_run(make_config("stage1", "epochs=8"), outputs / "other", age=10)
    _unfinished_run(make_config("stage0", "epochs=7"), outputs / "stage0", age=5)
    found = find_continued(config, None)
    assert found is not None
    assert found.folder == newest
    (newest / STATE).unlink()
    found = find_continued(config, None)
    assert found is not None
    assert found.folder == outputs / "older"


def test_auto_does_not_continue_a_run_from_another_source(make_config, tmp_path):
    run = _unfinished_run(make_config("stage2", "resume=runs/a"), tmp_path / "run", age=0)
    same = find_continued(make_config("stage2", "resume=auto", "recognizer=runs/a"), run)
    assert same is not None
    assert same.sources == {"resume": "runs/a", "recognizer": None}
    with pytest.raises(ConfigError, match="holds an unfinished run"):
        find_continued(make_config("stage2", "resume=auto", "recognizer=runs/b"), run)


def test_a_path_to_an_earlier_stage_starts_from_it(make_config, tmp_path):
    run = _unfinished_run(make_config("stage1"), tmp_path / "run", age=0)
    assert find_continued(make_config("stage2", f"resume={run}"), None) is None
