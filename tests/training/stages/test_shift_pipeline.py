"""A folder in the layout of Something-Something V1 goes through every command."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adafocus_env.data.glyphs.order import SPLITS, render_order_video
from adafocus_env.networks import ShiftRecognizer
from agents.policies.policy_files import load_policy

HERE = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos of `glyphs_order` as folders of 16 JPEG frames: 12 for training, 5 for validation."""
    root = tmp_path_factory.mktemp("something")
    top = root / "something-something-v1"
    frames_dir = top / "20bn-something-something-v1"
    for split, count in (("train", 12), ("val", 5)):
        lines = []
        for index in range(count):
            name = f"{index + (100 if split == 'val' else 0)}"
            frames, label, _ = render_order_video(SPLITS[split][0], index)
            (frames_dir / name).mkdir(parents=True)
            for number, frame in enumerate(frames, start=1):
                bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(frames_dir / name / f"{number:05d}.jpg"), bgr)
            lines.append(f"{name} {len(frames)} {label}\n")
        (top / f"{split}_videofolder.txt").write_text("".join(lines))
    (top / "category.txt").write_text("".join(f"template {k}\n" for k in range(174)))
    return root


@pytest.fixture(scope="module")
def common(folder):
    return ["experiment=sthsth_debug", f"data_dir={folder}", "device=cpu"]


@pytest.fixture(scope="module")
def stages(run_command, common, tmp_path_factory):
    """check-data, stages 0 to 3, evaluate, and there and back through a published file."""
    root = tmp_path_factory.mktemp("something_runs")
    folders = {}

    def run(part, command, *overrides):
        folders[part] = root / part
        done = run_command(command, *common, f"output_dir={folders[part]}", *overrides)
        assert done.code == 0, done.err
        return str(folders[part])

    run("check", "check-data")
    glancer = run("glancer", "stage0", "pretrain_glancer=true")
    focuser = run("focuser", "stage0", "pretrain_glancer=false")
    pretrained = (f"pretrained_glancer={glancer}", f"pretrained_focuser={focuser}")
    stage1 = run("stage1", "stage1", *pretrained)
    stage2 = run("stage2", "stage2", f"resume={stage1}")
    stage3 = run("stage3", "stage3", f"resume={stage2}")
    run("evaluate", "evaluate", f"resume={stage3}")
    file = root / "mine.pth.tar"
    run("publish", "convert", f"source={stage3}", f"target={file}", "format=published")
    run("convert", "convert", f"source={file}", f"target={root / 'back'}")
    run("evaluate_back", "evaluate", f"resume={root / 'back'}")
    return {**folders, "file": file, "back": root / "back"}


def _result(folder):
    return json.loads((folder / "evaluate.json").read_text())


def test_check_data_finds_every_frame(stages):
    report = json.loads((stages["check"] / "check_data.json").read_text())
    assert report["errors"] == []
    assert report["splits"]["train"]["frames"] == 12 * 16
    assert report["splits"]["val"]["videos"] == 5


def test_every_stage_ends_with_what_the_next_one_takes(stages):
    result = _result(stages["evaluate"])
    (policy,) = result["policies"]
    assert (result["dataset"], result["split"], result["videos"]) == ("sthsth_v1", "val", 5)
    assert policy["name"] == "learned"
    assert len(policy["top1_per_step"]) == 1  # one decision a clip
    assert 0.0 <= policy["top1"] <= policy["top5"] <= 1.0
    assert result["classes"] == 174


def test_the_policy_acts_in_continuous_locations_with_batch_normalisation(stages):
    policy = load_policy(stages["stage2"] / "policy").policy
    assert policy.observation_space.shape == (4 * 48, 7, 7)
    assert policy.action_space.shape == (2,)
    assert policy.arguments()["batch_norm"]
    assert policy.arguments()["action_std"] == 0.25


def test_stage_3_trains_the_classifier_without_dropout_and_keeps_its_own_rate(stages):
    before, after = (
        ShiftRecognizer.load(stages[name] / "recognizer") for name in ("stage1", "stage3")
    )
    assert before.config == after.config
    assert after.config.dropout > 0.0
    one, other = before.state_dict(), after.state_dict()
    changed = {name for name in one if not torch.equal(one[name], other[name])}
    assert changed == {"classifier.fc.weight", "classifier.fc.bias"}


def test_a_checkpoint_in_the_published_form_and_back_has_the_same_metrics(stages):
    before, after = (_result(stages[name]) for name in ("evaluate", "evaluate_back"))
    assert after["policies"] == before["policies"]
    one, other = (
        ShiftRecognizer.load(stages[name] / "recognizer").state_dict()
        for name in ("stage3", "back")
    )
    lost = {name for name in one if not torch.equal(one[name], other[name])}
    assert lost == {"focuser.net.fc.weight", "focuser.net.fc.bias"}  # published files have none
    policies = (load_policy(stages[name] / "policy").policy for name in ("stage3", "back"))
    one, other = (policy.state_dict() for policy in policies)
    scale = {"encoder.mean", "encoder.std", "scale_is_fitted"}
    assert all(torch.equal(one[name], other[name]) for name in one if name not in scale)


def test_a_published_file_or_a_tsm_checkpoint_starts_a_backbone(
    run_command, common, stages, tmp_path
):
    recognizer = ShiftRecognizer.load(stages["stage1"] / "recognizer")
    weights = recognizer.focuser.state_dict()
    tsm = {}
    for name, value in weights.items():
        head = name.startswith("net.fc.")
        plain = name.removeprefix("net.fc." if head else "net.")
        tsm[f"module.{'new_fc' if head else 'base_model'}.{plain}"] = value
    torch.save({"epoch": 50, "state_dict": tsm, "best_prec1": 40.0}, tmp_path / "tsm.pth.tar")
    done = run_command(
        "stage1",
        *common,
        *("epochs=1", "backbone_lr=0", f"output_dir={tmp_path / 'run'}"),
        *(f"pretrained_focuser={tmp_path / 'tsm.pth.tar'}", f"pretrained_glancer={stages['file']}"),
    )
    assert done.code == 0, done.err
    made = ShiftRecognizer.load(tmp_path / "run" / "recognizer")
    assert made.glancer_fingerprint() == recognizer.glancer_fingerprint()
    for name, value in made.focuser.named_parameters():
        assert torch.equal(value, weights[name]), name


def test_two_divisions_share_the_weights_of_one(run_command, common, stages, tmp_path):
    given = [*common, "video_div=2", "epochs=1"]
    stage2 = tmp_path / "stage2"
    done = run_command("stage2", *given, f"resume={stages['stage1']}", f"output_dir={stage2}")
    assert done.code == 0, done.err
    done = run_command("evaluate", *given, f"resume={stage2}", f"output_dir={tmp_path / 'eval'}")
    assert done.code == 0, done.err
    (policy,) = _result(tmp_path / "eval")["policies"]
    assert len(policy["top1_per_step"]) == 2
    assert load_policy(stage2 / "policy").policy.observation_space.shape == (2 * 48, 7, 7)


def _stage1(common, stages):
    parts = (f"pretrained_{part}={stages[part]}" for part in ("glancer", "focuser"))
    return ["stage1", *common, *parts, "backbone_lr=0.001"]


def _call(*command, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.mark.slow
def test_a_killed_stage_1_ends_with_the_weights_of_an_uninterrupted_one(
    run_command, common, stages, tmp_path
):
    arguments = [*_stage1(common, stages), "epochs=2"]
    assert run_command(*arguments, f"output_dir={tmp_path / 'whole'}").code == 0
    broken = f"output_dir={tmp_path / 'broken'}"
    driver = str(HERE / "killed_driver.py")
    # Three updates an epoch: the fourth is in the second.
    killed = _call(sys.executable, driver, "step", "4", *arguments, broken, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert run_command(*arguments, broken, "resume=auto").code == 0
    one, other = (
        load_file(tmp_path / name / "recognizer" / "recognizer.safetensors")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_take_the_first_step_of_one(common, stages, tmp_path):
    driver = str(HERE / "first_step_driver.py")
    arguments = [*_stage1(common, stages), "dropout=0", "epochs=1"]
    for name, start in (("one", [sys.executable]), ("two", TORCHRUN)):
        done = _call(*start, driver, name, *arguments, f"output_dir=run_{name}", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    one = torch.load(tmp_path / "one.0.pt", weights_only=True)
    two = [torch.load(tmp_path / f"two.{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert sum(run["losses"][0] for run in two) / 2 == pytest.approx(one["losses"][0], abs=1e-5)
    for other in two:
        for got, expected in zip(other["gradients"], one["gradients"], strict=True):
            assert (got is None) == (expected is None)
            if expected is not None:
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(other["scores"], one["scores"], rtol=0, atol=1e-6)
