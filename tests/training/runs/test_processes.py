"""Training under `torchrun` with two processes computes what one process does."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import Adam

from agents.gru_ppo.process_group import ProcessGroup
from agents.sb3.resume import part_of_state
from train.runs.processes import Processes

pytestmark = pytest.mark.slow


@pytest.mark.distributed
def test_two_processes_take_the_first_step_of_one(
    tiny, tiny_videos, handed_on, check_first_step, tmp_path
):
    # Nine validation videos: an odd number to share.
    folder = shutil.copytree(tiny_videos, tmp_path / "data")
    (folder / "val_targets.npy").unlink()
    lines = (folder / "val.txt").read_text().splitlines(keepends=True)
    (folder / "val.txt").write_text("".join(lines[:9]))
    pretrained = [f"pretrained_{part}={handed_on[part]}" for part in ("glancer", "focuser")]
    stage1 = ["stage1", *tiny, f"data_dir={folder}", "dropout=0", *pretrained]
    parts = ["grad_accumulation=2", "output_dir=parts"]
    one, parted = check_first_step(tmp_path, *stage1, parts=parts)
    assert sum(parted["losses"][:2]) / 2 == pytest.approx(one["losses"][0], abs=1e-5)
    # Where no folder was given, both processes agree on one, and only the first writes to it.
    (run,) = (tmp_path / "outputs").glob("*/*")
    assert (run / "recognizer" / "recognizer.json").is_file()
    assert (run / "stage1.log").read_text().count("starting stage1") == 1


@pytest.mark.distributed
def test_two_processes_train_the_policy_of_one(tiny, handed_on, run_tiny, run_two, tmp_path):
    # One batch an update, as published: no minibatches, which would be shuffled apart.
    arguments = [f"resume={handed_on['stage1']}", "epochs=2", "algo.preset=paper"]
    run_tiny("stage2", tmp_path / "one", *arguments)
    # From a folder with a train.py of its own too.
    (tmp_path / "train.py").write_text("raise SystemExit('the wrong train')\n")
    run_two("adafocus", "stage2", *tiny, *arguments, "output_dir=two", cwd=tmp_path)
    one, two = (
        load_file(tmp_path / run / "policy" / "policy.safetensors") for run in ("one", "two")
    )
    assert one.keys() == two.keys()
    for name, expected in one.items():
        # Adam moves a weight by its rate whichever small gradient rounding leaves.
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-4, msg=name)


@pytest.mark.distributed
def test_a_run_of_one_process_goes_on_with_two(
    tiny, handed_on, run_command, run_two, cut, tmp_path
):
    source = f"recognizer={handed_on['stage1']}"
    given = ["stage2", *tiny, source, "epochs=2", "eval_freq=2", "algo.preset=paper"]
    run_command(*given, f"output_dir={tmp_path / 'one'}")
    # Two updates an epoch: the second epoch is begun.
    cut(Adam, "step", 3, run_command, *given, f"output_dir={tmp_path / 'two'}")
    run_two("adafocus", *given, "resume=auto", "output_dir=two", cwd=tmp_path)
    log = (tmp_path / "two" / "stage2.log").read_text()
    assert "begun with 1 processes, going on with 2" in log
    assert "continuing after epoch 1 of 2" in log
    one, two = (
        load_file(tmp_path / run / "policy" / "policy.safetensors") for run in ("one", "two")
    )
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-4, msg=name)


def test_two_processes_state_is_dealt_anew_to_any_number():
    rows = [json.dumps([{"row": 0}, {"row": 1}, {"row": 2}]), json.dumps([{"row": 3}] * 3)]
    state = {"num_timesteps": 60, "n_updates": 7}  # 60 steps of three rows
    for count, steps, mine in ((1, 120, [0, 1, 2, 3, 3, 3]), (3, 40, [2, 3]), (6, 20, [1])):
        part = part_of_state(state, rows, ProcessGroup(min(1, count - 1), count))
        assert (part["num_timesteps"], part["n_updates"]) == (steps, 7)
        assert [row["row"] for row in json.loads(part["env"])] == mine


def test_one_process_is_the_main_one_and_gathers_its_own(make_config):
    processes = Processes(make_config("stage0", "device=cpu"))
    assert (processes.rank, processes.count, processes.is_main) == (0, 1, True)
    assert processes.gather([1, 2]) == [1, 2]


def test_training_in_bfloat16_validates_in_float32(run_tiny, tmp_path):
    run_tiny("stage0", tmp_path / "run", "amp=bf16")
    weights = load_file(tmp_path / "run" / "glancer" / "backbone.safetensors")
    assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}
