"""A user's mistake ends a command with one line that says what to do: one of each class of error.

What is checked further down has its own tests beside it; these show that it arrives as one line.
"""

import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        # Nothing to start from, or not there.
        ("stage3", "", "stage3 needs resume=RUN_FOLDER (of 'adafocus stage2' or a later stage)"),
        ("benchmark", "", "learned in policies= needs resume=RUN_FOLDER (of 'adafocus stage2' or"),
        ("bank", "target=bank", "or both pretrained_glancer= and pretrained_focuser="),
        ("stage2", "resume=nowhere",
         "nowhere does not exist; name a run with a recognizer: 'adafocus stage1' makes one"),
        ("stage1", "pretrained_glancer={glancer}", "needs pretrained_focuser=RUN_FOLDER of 'adafo"),
        ("stage3", "resume={stage1}", "no policy in {stage1}; 'adafocus stage2' makes one"),
        ("benchmark", "resume={stage2} policies=[random] runs={{random:nowhere}}",
         "nowhere does not exist; name a run with a recognizer"),
        ("stage3", "resume={stage2} policy=centre", "did you mean center?"),
        ("evaluate", "resume={stage2} policy=centre", "did you mean center?"),
        ("record", "experiment=glyphs_search num_frames=1 resume=shipped",
         "without a policy; leave learned out of policies=, or give policy=RUN_FOLDER of 'adaf"),
        ("stage3", "experiment=glyphs_search num_frames=1 resume=shipped",
         "without a policy; give policy=RUN_FOLDER of 'adafocus stage2', or policy=random|center|"),
        # Networks of other kinds and sizes.
        ("stage0", "glancer=resnet50", "set activation_cap"),
        ("stage0", "patch_size=200", "patch_size 200"),
        ("stage2", "resume={stage1} patch_size=16", "patch_size=16 (checkpoint: 32); give"),
        ("stage3", "resume={stage2} dropout=0.1", "stage3 does not use dropout="),
        ("benchmark", "resume={stage2} hidden_dim=32 glance_size=56",
         "glance_size=56 (checkpoint: 28), hidden_dim=32 (checkpoint: 16); give the experiment="),
        ("stage3", "resume={stage2} action_dim=49", "set action_dim= as in its stage 2"),
        ("evaluate", "resume={stage2} action_dim=49", "action_dim="),
        ("benchmark", "resume={stage2} action_dim=25", "action_dim="),
        # Rules, algorithm and policies by name.
        ("stage2", "resume={stage1} reward=best", "unknown reward 'best'; known are random"),
        ("stage2", "resume={stage1} algo.gae_lambda=0.9", "gae_lambda=1"),
        ("stage2", "resume={stage1} ++algo.policy_kwargs.hiddendim=3", "hiddendim"),
        ("stage2", "resume={stage1} algo.learning_rate=fast", "learning_rate"),
        ("benchmark", "resume={stage2} policies=[random,best]",
         "unknown policies ['best']; known are random, center, greedy_oracle, random_offsets, "),
        ("evaluate", "resume={stage2} policy=beam_oracle", "write beam_oracle:WIDTH"),
        # The device, the batch, and numbers that run away.
        ("stage0", "device=gpu", "gpu"),
        ("stage0", "amp=fp16", "amp=fp16 needs a GPU; use amp=none or amp=bf16 on a CPU"),
        ("stage0", "sync_batchnorm=true", "sync_batchnorm=true needs GPUs"),
        ("stage0", "grad_accumulation=3", "batch_size=10 cannot be split into 1 processes x grad_"),
        ("stage0", "backbone_lr=1e30 optimizer=sgd", "lower backbone_lr"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_in_one_line_with_the_cure(
    refused, handed_on, stage2_run, command, overrides, message
):
    runs = {**handed_on, "stage2": stage2_run}
    assert message.format(**runs) in refused(command, *overrides.format(**runs).split())


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("val.txt", "val/00000.mp4,16,10\n", "val.txt:1: label 10 is not in 0..9"),
        ("classes.txt", "", "classes.txt: the class file is empty"),
        (
            "videos/val/00003.mp4",
            "no video",
            "00003.mp4: no video file: it does not begin as any known",
        ),
    ],
)
def test_bad_data_is_named(refused, tiny_videos, tmp_path, file, content, message):
    folder = shutil.copytree(tiny_videos, tmp_path / "videos")
    for targets in folder.glob("*_targets.npy"):
        targets.unlink()
    (folder / file).write_text(content)
    assert message in refused("stage0", f"data_dir={folder}")


def test_broken_checkpoints_are_named_and_the_traceback_is_in_the_run_folder(
    refused, stage2_run, tmp_path
):
    copied = shutil.copytree(stage2_run, tmp_path / "stage2")
    (copied / "policy" / "policy.safetensors").write_bytes(b"cut")
    assert "policy.safetensors holds no weights" in refused("evaluate", f"resume={copied}")
    (copied / "recognizer" / "recognizer.json").write_text("{")
    assert "recognizer.json" in refused("stage2", f"resume={copied}")
    assert "Traceback" in (tmp_path / "run" / "error.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["algo=ppo", "algo.batch_size=1"], "algo.batch_size=1: "),
        (["algo=ppo", "algo.n_steps=0"], "n_steps=0"),
        (["algo=ppo", "algo.policy_kwargs.net_arch=foo"], "net_arch='foo'"),
        (["algo=dqn", "locations=continuous"], "cannot use locations=continuous (The algorithm"),
    ],
    ids=str,
)
def test_what_an_algorithm_refuses_is_told_as_what_it_is(refused, handed_on, arguments, message):
    said = refused("stage2", f"resume={handed_on['stage1']}", *arguments)
    assert message in said
    assert ("locations" in said) == ("locations=continuous" in arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [(Path.mkdir, "flops.log: Is a directory"), (os.mkfifo, "flops.log: a pipe or device, where")],
)
def test_a_log_that_cannot_be_written_is_one_line(refused, tmp_path, make, message):
    (tmp_path / "run").mkdir()
    make(tmp_path / "run" / "flops.log")
    assert message in refused("flops")
