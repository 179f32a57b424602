"""The stages on a user's own video files, with the published schedule and small networks."""

import json

import pytest
import yaml

from adafocus_env.networks import Recognizer


@pytest.fixture(scope="module")
def own_run(run_command, video_folder, tmp_path_factory):
    """Stages 0 to 2 and a benchmark on six videos of 64x48 pixels: part -> run folder."""
    root = tmp_path_factory.mktemp("own")
    sizes = "num_frames=4 frame_size=40 patch_size=12 hidden_dim=16 action_dim=16 epochs=1"
    given = ["experiment=videos", "model=glyphs", f"data_dir={video_folder}", "device=cpu"]
    given += [*sizes.split(), "batch_size=3", "++algo.policy_kwargs.hidden_dim=8"]
    folders = {}

    def run(part, command, *overrides):
        folders[part] = root / part
        done = run_command(command, *given, f"output_dir={folders[part]}", *overrides)
        assert done.code == 0, done.err
        return str(folders[part])

    glancer = run("glancer", "stage0", "pretrain_glancer=true")
    focuser = run("focuser", "stage0", "pretrain_glancer=false")
    pretrained = [f"pretrained_glancer={glancer}", f"pretrained_focuser={focuser}"]
    stage1 = run("stage1", "stage1", *pretrained)
    stage2 = run("stage2", "stage2", f"resume={stage1}")
    run("benchmark", "benchmark", f"resume={stage2}", "split=val", "draws=2")
    return folders


def test_the_classes_are_those_of_the_class_file(own_run):
    config = Recognizer.load(own_run["stage1"] / "recognizer").config
    assert config.class_names == ("class 0", "class 1", "class 2")
    assert (config.num_frames, config.frame_size, config.patch_size) == (4, 40, 12)


def test_the_published_schedule_and_preset_are_used(own_run):
    stage1 = yaml.safe_load((own_run["stage1"] / "config.yaml").read_text())
    assert (stage1["optimizer"], stage1["lr_type"], stage1["fc_lr"]) == ("sgd", "cos", 0.05)
    stage2 = yaml.safe_load((own_run["stage2"] / "config.yaml").read_text())
    assert stage2["algo"]["preset"] == "paper"


def test_where_no_target_is_known_on_target_is_null(own_run):
    result = json.loads((own_run["benchmark"] / "benchmark.json").read_text())
    assert result["videos"] == 3
    assert [policy["on_target"] for policy in result["policies"]] == [None] * 4
    assert "NaN" not in (own_run["benchmark"] / "benchmark.json").read_text()
    assert "| ? |" in (own_run["benchmark"] / "benchmark.md").read_text()


def test_without_stage_3_all_policies_have_the_common_classifier(own_run):
    result = json.loads((own_run["benchmark"] / "benchmark.json").read_text())
    assert [policy["classifier"] for policy in result["policies"]] == ["common"] * 4
    assert result["policies"] == result["policies_same_classifier"]
