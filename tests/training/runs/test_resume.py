"""Interrupted runs go on, and end with the weights of uninterrupted ones."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.optim import Adam, AdamW

from train.config.keys import ConfigError
from train.runs.folder import find_continued

pytestmark = pytest.mark.slow

STATE = "training_state.pt"

# Two updates an epoch, of three steps each in stage 2: the cut is in the middle of the third epoch.
STAGES = {
    "stage0": ("glancer", AdamW, 5, "pretrain_glancer=true"),
    "stage1": ("recognizer", AdamW, 5, "pretrained_glancer={glancer} pretrained_focuser={focuser}"),
    "stage2": ("policy", Adam, 15, "recognizer={stage1}"),
    "stage3": ("recognizer", AdamW, 5, "recognizer={stage2}"),
}


@pytest.fixture(scope="module")
def arguments(tiny, handed_on, stage2_run):
    """The arguments of a stage of four epochs, evaluated at the second and the last."""

    def make(stage, folder):
        own = STAGES[stage][3].format(**handed_on, stage2=stage2_run).split()
        return [stage, *tiny, "epochs=4", "eval_freq=2", f"output_dir={folder}", *own]

    return make


@pytest.fixture(scope="module")
def whole(arguments, run_command, tmp_path_factory):
    """Runs a stage without interruption, once; do not write to its folder."""
    root = tmp_path_factory.mktemp("whole")

    def run(stage):
        if not (root / stage).exists():
            run_command(*arguments(stage, root / stage))
        return root / stage

    return run


@pytest.mark.parametrize(
    ("stage", "how"),
    [
        *((stage, "cut") for stage in STAGES),
        # The configuration and each state sync a file and the folder: the fifth is in the second.
        ("stage1", "killed"),
    ],
)
def test_a_stage_that_is_continued_ends_with_the_weights_of_an_uninterrupted_one(
    arguments, run_command, run_process, whole, cut, changed, tmp_path, stage, how
):
    broken = tmp_path / "broken"
    part, optimizer, count, _ = STAGES[stage]
    given = arguments(stage, broken)
    if how == "cut":
        cut(optimizer, "step", count, run_command, *given)
    else:
        run_process("killed", 5, *given, cwd=tmp_path, code=-signal.SIGKILL)
    assert (broken / STATE).is_file()
    run_command(*given, "resume=auto")
    log = (broken / f"{stage}.log").read_text()
    assert f"continuing {stage} in {broken}" in log
    assert f"continuing after epoch {2 if how == 'cut' else 1} of 4" in log
    assert not changed(whole(stage) / part, broken / part)
    assert not (broken / STATE).exists()
    assert not list(broken.glob(".*.part"))


@pytest.fixture
def unfinished(whole, tmp_path):
    """A stage-1 run that looks as if it had been killed after its last epoch."""
    folder = shutil.copytree(whole("stage1"), tmp_path / "unfinished")
    torch.save({"command": "stage1"}, folder / STATE)
    return folder


def test_an_unfinished_run_is_not_overwritten_nor_continued_with_other_settings_nor_damaged(
    arguments, run_command, unfinished, tmp_path
):
    given, state = arguments("stage1", unfinished), unfinished / STATE
    done = run_command(*given, code=2)
    assert f"{unfinished} holds an unfinished run; add resume=auto" in done.err
    assert state.is_file()
    new = arguments("stage1", tmp_path / "new")
    done = run_command(*new, "epochs=5", f"resume={unfinished}", code=2)
    assert f"{unfinished} is an unfinished stage1 with other settings" in done.err
    assert "epochs: 4 there, 5 here" in done.err
    state.write_bytes(b"half a file")
    done = run_command(*given, "resume=auto", code=1)
    assert f"{state} is no training state, damaged or incomplete" in done.err
    assert len(done.err.splitlines()) == 1
    assert "weights_only" not in done.err


def _without(name):
    return lambda state: state.pop(name)


def _with(**entries):
    return lambda state: state.update(entries)


def _with_nan(name):
    return lambda state: next(iter(state[name][0].values())).fill_(torch.nan)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        (
            "stage1",
            {
                "weights is missing": _without("weights"),
                "command is missing": _without("command"),
                "next_epoch should be a valid integer": _with(next_epoch="2"),
                "next_epoch should be greater than": _with(next_epoch=-5),
                "does not fit this run .*next_epoch=1000000000 of 4": _with(next_epoch=10**9),
                "next_epoch=4 of 4, best=None": _with(next_epoch=4, best=None),
                "processes should be greater than": _with(processes=0),
                "does not fit this run": _with(best_weights=[], best={"top1": 1.0}),
                r"does not fit this run .KeyError": _with(optimizer={}),
                r"does not fit this run .IndexError": _with(random=[]),
                r"numbers in weights\.\S+ are not finite": _with_nan("weights"),
            },
        ),
        (
            "stage2",
            {
                "algorithm is missing": _without("algorithm"),
                "epochs_done=3 after 2 of 4": _with(epochs_done=3),
                r"does not fit this run .KeyError: 'num_timesteps'": _with(algorithm={}),
                "does not fit this run": _with(rows=["{}"]),
            },
        ),
    ],
)
def test_a_damaged_state_is_one_line_with_the_file_and_a_cure(
    arguments, run_command, cut, tmp_path, stage, changes
):
    folder = tmp_path / "begun"
    given = arguments(stage, folder)
    _, optimizer, count, _ = STAGES[stage]
    cut(optimizer, "step", count, run_command, *given)
    state, line = folder / STATE, f"adafocus {stage}: {folder / STATE}"
    whole = state.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    state.write_bytes(flipped)
    done = run_command(*given, "resume=auto", code=1)
    assert done.err.startswith(f"{line} is damaged: its checksum is that of another file; delete")
    for message, change in changes.items():
        state.write_bytes(whole)
        values = torch.load(state, weights_only=True)
        change(values)
        torch.save(values, state)  # without a checksum, as earlier versions did
        done = run_command(*given, "resume=auto", code=1)
        assert re.search(f"^{line}.*{message}.*; delete it to begin the stage anew", done.err)
        assert done.err.count("\n") == 1
    state.write_bytes(whole)
    torch.save(torch.load(state, weights_only=True), state)
    run_command(*given, "resume=auto")


def _unfinished_run(config, folder, age):
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
    assert find_continued(config, None).folder == newest
    (newest / STATE).unlink()
    assert find_continued(config, None).folder == outputs / "older"


def test_a_run_from_another_source_is_not_continued_and_an_earlier_stage_is_started_from(
    make_config, tmp_path
):
    run = _unfinished_run(make_config("stage2", "resume=runs/a"), tmp_path / "run", age=0)
    same = find_continued(make_config("stage2", "resume=auto", "recognizer=runs/a"), run)
    assert same.sources == {"resume": "runs/a", "recognizer": None}
    different = r"unfinished run with other settings \(recognizer: runs/a there, runs/b here\)"
    with pytest.raises(ConfigError, match=f"{different}; give the same settings to continue"):
        find_continued(make_config("stage2", "resume=auto", "recognizer=runs/b"), run)
    (run / "config.yaml").unlink()
    for given in ([], ["resume=auto"]):
        with pytest.raises(ConfigError, match=r"without its config\.yaml; restore that file to"):
            find_continued(make_config("stage2", *given), run)
    earlier = _unfinished_run(make_config("stage1"), tmp_path / "earlier", age=0)
    assert find_continued(make_config("stage2", f"resume={earlier}"), None) is None
