"""A folder in the ActivityNet layout goes through stages 2 and 3, evaluate, and there and back."""

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def common(actnet_folder, where_used):
    return ["experiment=actnet_debug", f"data_dir={actnet_folder}", *where_used(["device=cpu"])]


@pytest.fixture(scope="module")
def stages(run_command, make_recognizer, common, actnet_folder, tmp_path_factory):
    """Stages 2 and 3 on a recognizer of random weights, evaluate, and there and back."""
    root = tmp_path_factory.mktemp("actnet_runs")
    sizes = {"num_frames": 4, "frame_size": 112, "patch_size": 32, "hidden_dim": 32, "dropout": 0.8}
    names = tuple((actnet_folder / "classInd.txt").read_text().splitlines())
    make_recognizer(class_names=names, **sizes).save(root / "stage1" / "recognizer")

    def run(part, command, *overrides):
        run_command(command, *common, f"output_dir={root / part}", *overrides)
        return root / part

    stage2 = run("stage2", "stage2", f"resume={root / 'stage1'}")
    stage3 = run("stage3", "stage3", f"resume={stage2}")
    run("evaluate", "evaluate", f"resume={stage3}")
    file = root / "mine.pth.tar"
    run("publish", "convert", f"source={stage3}", f"target={file}", "format=published")
    run("convert", "convert", f"source={file}", f"target={root / 'back'}")
    run("evaluate_back", "evaluate", f"resume={root / 'back'}")
    return root


def _result(folder):
    return json.loads((folder / "evaluate.json").read_text())


def test_every_stage_ends_with_what_the_next_one_takes(stages):
    result = _result(stages / "evaluate")
    (policy,) = result["policies"]
    assert (result["dataset"], result["split"], result["videos"]) == ("actnet", "val", 6)
    assert policy["name"] == "learned"
    assert len(policy["map_per_step"]) == 4
    # 6 validation videos have labels 0..5, two of them a second one: 1 and 4 occur already.
    assert policy["map_missing_classes"] == 4
    assert 0.0 <= policy["top1"] <= policy["top5"] <= 1.0


def test_a_checkpoint_in_the_published_form_and_back_has_the_same_metrics(stages):
    before, after = (_result(stages / name) for name in ("evaluate", "evaluate_back"))
    assert after["policies"] == before["policies"]
    assert after["recognizer_sha256"] == before["recognizer_sha256"]


def test_published_metrics_can_be_asked_for(run_command, common, stages, tmp_path):
    given = [f"resume={stages / 'stage3'}", f"output_dir={tmp_path}"]
    done = run_command("evaluate", *common, *given, "map_rule=published", "map_labels=first")
    result = _result(tmp_path)
    assert (result["map_rule"], result["map_labels"]) == ("published", "first")
    # Absent classes count as 0 there: six of ten classes cannot reach more than 0.6.
    assert result["policies"][0]["map"] <= 0.6
    assert "mAP by the published rule over the first label" in " ".join(done.out.split())


def test_a_class_file_of_another_dataset_is_refused(refused, stages, actnet_folder, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for item in actnet_folder.iterdir():
        if item.name != "classInd.txt":
            (folder / item.name).symlink_to(item)
    names = (actnet_folder / "classInd.txt").read_text().splitlines()
    (folder / "classInd.txt").write_text("\n".join([*names[:3], "other", *names[4:]]) + "\n")
    given = [f"resume={stages / 'stage3'}", "num_frames=4", "hidden_dim=32", "action_dim=49"]
    said = refused("evaluate", "experiment=actnet_debug", *given, f"data_dir={folder}")
    assert "class 3 is 'digit 3' to the recognizer but 'other' in the videos' class file" in said
