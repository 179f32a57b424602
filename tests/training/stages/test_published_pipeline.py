"""A folder in the ActivityNet layout goes through every command, from frames and from videos."""

import json

import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer
from agents.evaluation import evaluate_agent
from agents.policies.policy_files import load_policy


@pytest.fixture(scope="module")
def stages(run_command, actnet_folder, tmp_path_factory):
    """check-data, stages 0 to 3 and evaluate with `experiment=actnet_debug`: part -> folder."""
    root = tmp_path_factory.mktemp("actnet_runs")
    common = ["experiment=actnet_debug", f"data_dir={actnet_folder}", "device=cpu"]
    folders = {}

    def run(part, command, *overrides):
        folders[part] = root / part
        done = run_command(command, *common, f"output_dir={folders[part]}", *overrides)
        assert done.code == 0, done.err
        return str(folders[part])

    run("check", "check-data", "media=videos")
    glancer = run("glancer", "stage0", "pretrain_glancer=true")
    focuser = run("focuser", "stage0", "pretrain_glancer=false")
    pretrained = (f"pretrained_glancer={glancer}", f"pretrained_focuser={focuser}")
    stage1 = run("stage1", "stage1", *pretrained)
    stage2 = run("stage2", "stage2", f"resume={stage1}")
    stage3 = run("stage3", "stage3", f"resume={stage2}")
    run("evaluate", "evaluate", f"resume={stage3}")
    file = str(root / "mine.pth.tar")
    run("publish", "convert", f"source={stage3}", f"target={file}", "format=published")
    back = run("convert", "convert", f"source={file}", f"target={root / 'back'}")
    assert back
    folders["back"] = root / "back"
    run("evaluate_back", "evaluate", f"resume={root / 'back'}")
    return folders


def _result(folder):
    return json.loads((folder / "evaluate.json").read_text())


def test_every_stage_ends_with_what_the_next_one_takes(stages):
    result = _result(stages["evaluate"])
    (policy,) = result["policies"]
    assert (result["dataset"], result["split"], result["videos"]) == ("actnet", "val", 6)
    assert policy["name"] == "learned"
    assert len(policy["map_per_step"]) == 4
    # 6 validation videos have labels 0..5, two of them a second one: 1 and 4 occur already.
    assert policy["map_missing_classes"] == 4
    assert 0.0 <= policy["top1"] <= policy["top5"] <= 1.0


def test_a_checkpoint_in_the_published_form_and_back_has_the_same_metrics(stages):
    before, after = (_result(stages[name]) for name in ("evaluate", "evaluate_back"))
    assert after["policies"] == before["policies"]
    assert after["recognizer_sha256"] == before["recognizer_sha256"]


def test_frames_and_videos_give_the_same_confidences(stages, actnet_folder):
    recognizer = Recognizer.load(stages["stage3"] / "recognizer")
    policy = load_policy(stages["stage3"] / "policy").policy

    def judge(media):
        options = VideoOptions(num_frames=4, frame_size=112, media=media)
        videos = open_videos("actnet", "val", options, data_dir=actnet_folder)
        env = PatchLocalizationVectorEnv.from_parts(
            recognizer, videos, num_envs=6, autoreset_mode="disabled"
        )
        return evaluate_agent(env, policy)

    frames, videos = judge("frames"), judge("videos")
    assert np.abs(frames.confidences - videos.confidences).max() < 0.05
    assert abs(frames.correct()[:, -1].mean() - videos.correct()[:, -1].mean()) <= 0.01


def test_published_metrics_can_be_asked_for(run_command, stages, actnet_folder, tmp_path):
    done = run_command(
        "evaluate",
        *("experiment=actnet_debug", f"data_dir={actnet_folder}", "device=cpu"),
        *(f"resume={stages['stage3']}", f"output_dir={tmp_path}"),
        *("map_rule=published", "map_labels=first"),
    )
    assert done.code == 0, done.err
    result = _result(tmp_path)
    assert (result["map_rule"], result["map_labels"]) == ("published", "first")
    # Absent classes count as 0 there: six of ten classes cannot reach more than 0.6.
    assert result["policies"][0]["map"] <= 0.6


def test_a_class_file_of_another_dataset_is_refused(run_command, stages, actnet_folder, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for item in actnet_folder.iterdir():
        if item.name != "classInd.txt":
            (folder / item.name).symlink_to(item)
    names = (actnet_folder / "classInd.txt").read_text().splitlines()
    (folder / "classInd.txt").write_text("\n".join([*names[:3], "other", *names[4:]]) + "\n")
    done = run_command(
        "evaluate",
        *("experiment=actnet_debug", f"data_dir={folder}", "device=cpu"),
        *(f"resume={stages['stage3']}", f"output_dir={tmp_path / 'run'}"),
    )
    assert done.code == 1
    assert (
        "class 3 is 'digit 3' to the recognizer but 'other' in the videos' class file" in done.err
    )
