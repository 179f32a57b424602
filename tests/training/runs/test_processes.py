"""Training under `torchrun` with two processes computes what one process does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from train.runs.processes import Processes

DRIVER = Path(__file__).parents[1] / "first_step_driver.py"
CONSOLE_COMMAND = str(Path(sys.executable).parent / "adafocus")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def _run(command, cwd):
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stage1(tiny, pipeline, tmp_path_factory):
    """Stage 1 without dropout on nine validation videos: an odd number to share."""
    data_dir = Path(dict(item.split("=") for item in tiny if "data_dir" in item)["data_dir"])
    folder = tmp_path_factory.mktemp("odd") / "data"
    shutil.copytree(data_dir, folder)
    (folder / "val_targets.npy").unlink()
    lines = (folder / "val.txt").read_text().splitlines(keepends=True)
    (folder / "val.txt").write_text("".join(lines[:9]))
    return [
        "stage1",
        *tiny,
        f"data_dir={folder}",
        "dropout=0",
        f"pretrained_glancer={pipeline['glancer']}",
        f"pretrained_focuser={pipeline['focuser']}",
    ]


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_take_the_first_step_of_one(stage1, tmp_path):
    _run([sys.executable, str(DRIVER), "one", *stage1, "output_dir=run1"], tmp_path)
    _run([*TORCHRUN, str(DRIVER), "two", *stage1], tmp_path)
    parts = ["grad_accumulation=2", "output_dir=run3"]
    _run([sys.executable, str(DRIVER), "parts", *stage1, *parts], tmp_path)
    one = torch.load(tmp_path / "one.0.pt", weights_only=True)
    two = [torch.load(tmp_path / f"two.{rank}.pt", weights_only=True) for rank in (0, 1)]
    parted = torch.load(tmp_path / "parts.0.pt", weights_only=True)
    assert sum(run["losses"][0] for run in two) / 2 == pytest.approx(one["losses"][0], abs=1e-5)
    assert sum(parted["losses"][:2]) / 2 == pytest.approx(one["losses"][0], abs=1e-5)
    largest = max(float(g.abs().max()) for g in one["gradients"] if g is not None)
    assert largest > 1e-3
    for other in (*two, parted):
        for got, expected in zip(other["gradients"], one["gradients"], strict=True):
            assert (got is None) == (expected is None)
            if expected is not None:
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(other["scores"], one["scores"], rtol=0, atol=1e-6)
    # Where no folder was given, both processes agree on one, and only the first writes to it.
    (run,) = (tmp_path / "outputs").glob("*/*")
    assert (run / "recognizer" / "recognizer.json").is_file()
    assert (run / "stage1.log").read_text().count("starting stage1") == 1


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_train_the_policy_of_one(tiny, pipeline, tmp_path):
    # One batch an update, as published: no minibatches, which would be shuffled apart.
    arguments = ["stage2", *tiny, f"resume={pipeline['stage1']}", "epochs=2", "algo.preset=paper"]
    _run([sys.executable, "-m", "train", *arguments, "output_dir=one"], tmp_path)
    # As README starts it: also from a folder with a train.py of its own.
    (tmp_path / "train.py").write_text("raise SystemExit('the wrong train')\n")
    command = [*TORCHRUN, "--no-python", CONSOLE_COMMAND]
    _run([*command, *arguments, "output_dir=two"], tmp_path)
    one, two = (
        load_file(tmp_path / name / "policy" / "policy.safetensors") for name in ("one", "two")
    )
    start = load_file(pipeline["stage2"] / "policy" / "policy.safetensors")
    assert one.keys() == two.keys() == start.keys()
    for name, expected in one.items():
        # Adam moves a weight by its rate whichever small gradient rounding leaves.
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-4, msg=name)


def test_a_batch_that_cannot_be_shared_is_an_error(make_config, run_command, tiny):
    done = run_command("stage0", *tiny, "grad_accumulation=3")
    assert done.code == 1
    assert "batch_size=10 cannot be split into 1 processes x grad_accumulation=3" in done.err
    processes = Processes(make_config("stage0", "device=cpu"))
    assert (processes.rank, processes.count, processes.is_main) == (0, 1, True)
    assert processes.gather([1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("amp=fp16", "amp=fp16 needs a GPU; use amp=none or amp=bf16 on a CPU"),
        ("sync_batchnorm=true", "sync_batchnorm=true needs GPUs"),
    ],
)
def test_what_a_cpu_cannot_do_is_an_error(run_command, tiny, override, message, tmp_path):
    done = run_command("stage0", *tiny, override, f"output_dir={tmp_path / 'run'}")
    assert done.code == 1
    assert message in done.err


def test_training_in_bfloat16_validates_in_float32(run_command, tiny, tmp_path):
    done = run_command("stage0", *tiny, "amp=bf16", f"output_dir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    weights = load_file(tmp_path / "run" / "glancer" / "backbone.safetensors")
    assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}
