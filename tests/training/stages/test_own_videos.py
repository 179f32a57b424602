"""Every stage's command on a user's own video files, with the published schedule."""

import json

import pytest
import yaml

from adafocus_env.networks import Recognizer


@pytest.fixture(scope="module")
def own_run(run_command, where_used, video_folder, tmp_path_factory):
    """Stages 0 to 2 and a benchmark on six videos of 64x48 pixels: part -> run folder, output."""
    root = tmp_path_factory.mktemp("own")
    sizes = "num_frames=4 frame_size=40 patch_size=12 hidden_dim=16 action_dim=16 epochs=1"
    given = ["experiment=videos", "model=glyphs", f"data_dir={video_folder}", "device=cpu"]
    given += where_used([*sizes.split(), "batch_size=3", "++algo.policy_kwargs.hidden_dim=8"])
    runs = {}

    def run(part, command, *overrides):
        done = run_command(command, *given, f"output_dir={root / part}", *overrides)
        runs[part] = (root / part, done.out)
        return root / part

    glancer = run("glancer", "stage0", "pretrain_glancer=true")
    focuser = run("focuser", "stage0", "pretrain_glancer=false")
    pretrained = [f"pretrained_glancer={glancer}", f"pretrained_focuser={focuser}"]
    stage1 = run("stage1", "stage1", *pretrained)
    stage2 = run("stage2", "stage2", f"resume={stage1}")
    run("benchmark", "benchmark", f"resume={stage2}", "split=val", "draws=2")
    return runs


def test_every_run_has_its_log_and_says_where_its_results_are(own_run):
    for part, (folder, out) in own_run.items():
        (log,) = folder.glob("*.log")
        command = "stage0" if part in ("glancer", "focuser") else part
        assert log.name == f"{command}.log"
        assert log.read_text().strip()
        assert "error" not in log.read_text().lower()
        assert yaml.safe_load((folder / "config.yaml").read_text())["command"] == command
        assert f"results are in {folder}" in out.replace("\n", "")


def test_a_backbone_without_weights_of_its_own_is_said_to_start_from_random_ones(own_run):
    for part, name in (("glancer", "mobilenet_v2_small"), ("focuser", "resnet_small")):
        log = (own_run[part][0] / "stage0.log").read_text()
        assert f"the {part} ({name}) starts from random weights" in log
    assert "random weights" not in (own_run["stage1"][0] / "stage1.log").read_text()


def test_classes_are_those_of_the_class_file_and_the_schedule_is_the_published_one(own_run):
    stage1, stage2 = (own_run[part][0] for part in ("stage1", "stage2"))
    config = Recognizer.load(stage1 / "recognizer").config
    assert config.class_names == ("class 0", "class 1", "class 2")
    assert (config.num_frames, config.frame_size, config.patch_size) == (4, 40, 12)
    settings = yaml.safe_load((stage1 / "config.yaml").read_text())
    assert (settings["optimizer"], settings["lr_type"], settings["fc_lr"]) == ("sgd", "cos", 0.05)
    assert yaml.safe_load((stage2 / "config.yaml").read_text())["algo"]["preset"] == "paper"


def test_no_target_is_known_and_without_stage_3_the_classifier_is_the_common_one(own_run):
    folder, _ = own_run["benchmark"]
    text = (folder / "benchmark.json").read_text()
    assert "NaN" not in text
    result = json.loads(text)
    assert result["videos"] == 3
    assert [policy["on_target"] for policy in result["policies"]] == [None] * 4
    assert "| ? |" in (folder / "benchmark.md").read_text()
    assert [policy["classifier"] for policy in result["policies"]] == ["common"] * 4
    assert result["policies"] == result["policies_same_classifier"]
