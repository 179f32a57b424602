"""A folder in the layout of Something-Something V1 goes through every command."""

import json

import cv2
import pytest
import torch
from torch.optim import SGD

from adafocus_env.data.glyphs.order import SPLITS, render_order_video
from adafocus_env.networks import ShiftRecognizer
from agents.policies.policy_files import load_policy

pytestmark = pytest.mark.slow


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
def common(folder, where_used):
    return ["experiment=sthsth_debug", f"data_dir={folder}", *where_used(["device=cpu"])]


@pytest.fixture(scope="module")
def run(run_command, common):
    """Runs a command on the folder; it must succeed. Gives its run folder."""

    def go(command, out, *overrides):
        run_command(command, *common, f"output_dir={out}", *overrides)
        return out

    return go


@pytest.fixture(scope="module")
def stages(run, tmp_path_factory):
    """check-data, stages 0 to 3, evaluate, and there and back through a published file."""
    root = tmp_path_factory.mktemp("something_runs")
    run("check-data", root / "check")
    glancer = run("stage0", root / "glancer", "pretrain_glancer=true")
    focuser = run("stage0", root / "focuser", "pretrain_glancer=false")
    pretrained = (f"pretrained_glancer={glancer}", f"pretrained_focuser={focuser}")
    stage1 = run("stage1", root / "stage1", *pretrained)
    stage2 = run("stage2", root / "stage2", f"resume={stage1}")
    stage3 = run("stage3", root / "stage3", f"resume={stage2}")
    run("evaluate", root / "evaluate", f"resume={stage3}")
    file = root / "mine.pth.tar"
    run("convert", root / "out", f"source={stage3}", f"target={file}", "format=published")
    run("convert", root / "out", f"source={file}", f"target={root / 'back'}")
    run("evaluate", root / "evaluate_back", f"resume={root / 'back'}")
    return root


def _result(folder):
    return json.loads((folder / "evaluate.json").read_text())


def test_every_stage_ends_with_what_the_next_one_takes(stages):
    report = json.loads((stages / "check" / "check_data.json").read_text())
    assert report["errors"] == []
    assert report["splits"]["train"]["frames"] == 12 * 16
    assert report["splits"]["val"]["videos"] == 5
    result = _result(stages / "evaluate")
    (policy,) = result["policies"]
    assert (result["dataset"], result["split"], result["videos"]) == ("sthsth_v1", "val", 5)
    assert policy["name"] == "learned"
    assert len(policy["top1_per_step"]) == 1  # one decision a clip
    assert 0.0 <= policy["top1"] <= policy["top5"] <= 1.0
    assert result["classes"] == 174


def test_the_policy_acts_in_continuous_locations_with_batch_normalisation(stages):
    policy = load_policy(stages / "stage2" / "policy").policy
    assert policy.observation_space.shape == (4 * 48, 7, 7)
    assert policy.action_space.shape == (2,)
    assert policy.arguments()["batch_norm"]
    assert policy.arguments()["action_std"] == 0.25


def test_stage_3_trains_the_classifier_without_dropout_and_keeps_its_own_rate(stages, changed):
    before, after = (
        ShiftRecognizer.load(stages / name / "recognizer") for name in ("stage1", "stage3")
    )
    assert before.config == after.config
    assert after.config.dropout > 0.0
    assert changed(before, after) == {"classifier.fc.weight", "classifier.fc.bias"}


def test_a_checkpoint_in_the_published_form_and_back_has_the_same_metrics(stages, changed):
    before, after = (_result(stages / name) for name in ("evaluate", "evaluate_back"))
    assert after["policies"] == before["policies"]
    lost = changed(stages / "stage3" / "recognizer", stages / "back" / "recognizer")
    assert lost == {"focuser.net.fc.weight", "focuser.net.fc.bias"}  # published files have none
    lost = changed(stages / "stage3" / "policy", stages / "back" / "policy")
    assert lost <= {"encoder.mean", "encoder.std", "scale_is_fitted"}


def test_a_published_file_or_a_tsm_checkpoint_starts_a_backbone(run, stages, tmp_path):
    recognizer = ShiftRecognizer.load(stages / "stage1" / "recognizer")
    weights = recognizer.focuser.state_dict()
    tsm = {}
    for name, value in weights.items():
        head = name.startswith("net.fc.")
        plain = name.removeprefix("net.fc." if head else "net.")
        tsm[f"module.{'new_fc' if head else 'base_model'}.{plain}"] = value
    torch.save({"epoch": 50, "state_dict": tsm, "best_prec1": 40.0}, tmp_path / "tsm.pth.tar")
    sources = [f"pretrained_focuser={tmp_path / 'tsm.pth.tar'}"]
    sources += [f"pretrained_glancer={stages / 'mine.pth.tar'}", "epochs=1", "backbone_lr=0"]
    made = ShiftRecognizer.load(run("stage1", tmp_path / "run", *sources) / "recognizer")
    assert made.glancer_fingerprint() == recognizer.glancer_fingerprint()
    for name, value in made.focuser.named_parameters():
        assert torch.equal(value, weights[name]), name


def test_two_divisions_share_the_weights_of_one(run, stages, tmp_path):
    source = f"resume={stages / 'stage1'}"
    stage2 = run("stage2", tmp_path / "stage2", "video_div=2", "epochs=1", source)
    folder = run("evaluate", tmp_path / "e", "video_div=2", f"resume={stage2}")
    (policy,) = _result(folder)["policies"]
    assert len(policy["top1_per_step"]) == 2
    assert load_policy(stage2 / "policy").policy.observation_space.shape == (2 * 48, 7, 7)


@pytest.fixture
def stage1(common, stages):
    """The arguments of a stage 1 whose focuser learns."""
    parts = (f"pretrained_{part}={stages / part}" for part in ("glancer", "focuser"))
    return ["stage1", *common, *parts, "backbone_lr=0.001"]


def test_a_cut_stage_1_ends_with_the_weights_of_an_uninterrupted_one(
    run_command, cut, changed, stage1, tmp_path
):
    arguments = [*stage1, "epochs=2"]
    run_command(*arguments, f"output_dir={tmp_path / 'whole'}")
    broken = f"output_dir={tmp_path / 'broken'}"
    # Three updates an epoch: the fourth is in the second.
    cut(SGD, "step", 4, run_command, *arguments, broken)
    run_command(*arguments, broken, "resume=auto")
    assert not changed(tmp_path / "whole" / "recognizer", tmp_path / "broken" / "recognizer")


@pytest.mark.distributed
def test_two_processes_take_the_first_step_of_one(stage1, check_first_step, tmp_path):
    check_first_step(tmp_path, *stage1, "dropout=0", "epochs=1")
