"""All stages, evaluate and benchmark on tiny videos: what they write and that it fits together."""

import csv
import json
import shutil
from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adafocus_env.data.glyphs.localization import render_video
from adafocus_env.envs import PatchLocalizationEnv
from adafocus_env.networks import Recognizer
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.policy_files import load_policy

STAGES = ["glancer", "focuser", "stage1", "stage2", "stage3_random", "stage3_learned"]
FIELDS = {
    "name", "reward_mean", "reward_ci95", "return_mean", "top1", "top1_ci95", "top1_per_step",
    "map", "on_target", "gmacs_per_video", "top5", "top5_per_step", "map_per_step",
    "map_missing_classes",
}  # fmt: skip
REWARD_FIELDS = {"reward_mean", "reward_ci95", "return_mean"}


@pytest.fixture(scope="module")
def benchmark(pipeline):
    """`benchmark.json`."""
    return json.loads((pipeline["benchmark"] / "benchmark.json").read_text())


def _by_name(policies):
    return {policy["name"]: policy for policy in policies}


# --- run folders ---


@pytest.mark.parametrize("part", [*STAGES, "benchmark", "evaluate"])
def test_every_run_has_its_resolved_configuration_and_log(pipeline, part):
    text = (pipeline[part] / "config.yaml").read_text()
    assert "${" not in text
    config = yaml.safe_load(text)
    command = {"glancer": "stage0", "focuser": "stage0"}.get(part, part.split("_")[0])
    assert config["command"] == command
    assert (config["num_frames"], config["action_dim"]) == (2, 16)
    assert config["epochs"] == (2 if part == "stage2" else 1)
    (log,) = pipeline[part].glob("*.log")
    assert log.name == f"{command}.log"
    assert log.read_text().strip()
    assert "error" not in log.read_text().lower()


@pytest.mark.parametrize("part", STAGES)
def test_training_writes_tensorboard_events(pipeline, part):
    events = EventAccumulator(str(pipeline[part] / "tensorboard")).Reload()
    tags = set(events.Tags()["scalars"])
    if part == "stage2":
        assert {"rollout/ep_rew_mean", "rollout/success_rate", "train/loss"} <= tags
    else:
        assert {"train/loss", "train/top1", "val/top1", "train/learning_rate"} <= tags


def test_the_last_evaluation_of_stage_2_is_in_its_curves(pipeline):
    with (pipeline["stage2"] / "tensorboard" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = [row["val/return"] for row in rows if row.get("val/return")]
    assert len(values) == 2  # two epochs, each evaluated


@pytest.mark.parametrize(
    ("part", "files"),
    [
        ("glancer", ["glancer/backbone.json", "glancer/backbone.safetensors"]),
        ("focuser", ["focuser/backbone.json", "focuser/backbone.safetensors"]),
        ("stage1", ["recognizer/recognizer.json", "recognizer/recognizer.safetensors"]),
        ("stage2", ["policy/policy.json", "policy/policy.safetensors", "algorithm.zip",
                    "recognizer/recognizer.json"]),
        ("stage3_learned", ["recognizer/recognizer.safetensors", "policy/policy.safetensors"]),
        ("benchmark", ["benchmark.json", "benchmark.csv", "benchmark.md", "report.html",
                       "accuracy_per_step.png", "accuracy_per_macs.png", "policies.mp4"]),
        ("evaluate", ["evaluate.json", "evaluate.md"]),
    ],
)  # fmt: skip
def test_every_part_writes_its_files(pipeline, part, files):
    for file in files:
        assert (pipeline[part] / file).stat().st_size > 0, file


def test_commands_say_where_their_results_are(pipeline):
    for part, folder in pipeline.items():
        out = (folder.parent / f"{part}.out").read_text().replace("\n", "")
        assert f"results are in {folder}" in out
        assert "\x1b" not in out


# --- what one stage hands to the next ---


def _recognizer(pipeline, part):
    return Recognizer.load(pipeline[part] / "recognizer")


def _differing(one, other):
    """Top-level parts with a weight that is not the same to the bit."""
    after = other.state_dict()
    changed = [n for n, value in one.state_dict().items() if not torch.equal(value, after[n])]
    return {name.split(".")[0] for name in changed}


def test_stage_1_keeps_the_glancer_of_stage_0(pipeline):
    saved = load_file(pipeline["glancer"] / "glancer" / "backbone.safetensors")
    glancer = _recognizer(pipeline, "stage1").glancer.state_dict()
    for name, value in saved.items():
        assert torch.equal(value, glancer[name]), name
    saved = load_file(pipeline["focuser"] / "focuser" / "backbone.safetensors")
    focuser = _recognizer(pipeline, "stage1").focuser.state_dict()
    assert any(not torch.equal(value, focuser[name]) for name, value in saved.items())


def test_stage_2_changes_no_bit_of_the_recognizer(pipeline):
    before, after = (_recognizer(pipeline, part) for part in ("stage1", "stage2"))
    assert before.fingerprint() == after.fingerprint()
    saved = load_policy(pipeline["stage2"] / "policy")
    assert saved.recognizer_sha256 == before.fingerprint()
    assert saved.policy.hidden_dim == 16
    assert int(saved.policy.action_space.n) == 16


@pytest.mark.parametrize("part", ["stage3_random", "stage3_center", "stage3_learned"])
def test_stage_3_changes_the_classifier_alone(pipeline, part):
    before, after = (_recognizer(pipeline, name) for name in ("stage2", part))
    assert _differing(before, after) == {"classifier"}


def test_stage_3_hands_on_the_policy_it_learned_for(pipeline):
    one, other = (load_policy(pipeline[p] / "policy").policy for p in ("stage2", "stage3_learned"))
    assert _differing(one, other) == set()
    assert not (pipeline["stage3_random"] / "policy").exists()


def test_stage_3_can_write_into_the_folder_it_starts_from(run_command, tiny, pipeline, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(pipeline["stage2"], folder)
    done = run_command("stage3", *tiny, f"output_dir={folder}", f"resume={folder}")
    assert done.code == 0, done.err
    expected = load_policy(pipeline["stage2"] / "policy").policy
    assert _differing(expected, load_policy(folder / "policy").policy) == set()
    assert _differing(_recognizer(pipeline, "stage2"), Recognizer.load(folder / "recognizer")) == {
        "classifier"
    }


def test_the_recognizer_of_a_run_makes_an_environment(pipeline, tiny_videos):
    env = PatchLocalizationEnv(
        recognizer=str(pipeline["stage3_learned"] / "recognizer"), data_dir=str(tiny_videos)
    )
    env.reset(seed=0)
    _, reward, *_ = env.step(24)
    assert np.isfinite(reward)
    assert env.num_decisions == 2


def test_the_algorithm_of_stage_2_can_be_loaded_by_who_trusts_it(pipeline):
    model = GruPPO.load(pipeline["stage2"] / "algorithm.zip", device="cpu")
    assert model._n_updates > 0


# --- benchmark.json ---


def test_the_benchmark_holds_the_named_policies_and_what_it_was_made_from(benchmark, pipeline):
    names = ["random", "center", "learned", "greedy_oracle"]
    assert [policy["name"] for policy in benchmark["policies"]] == names
    assert [policy["name"] for policy in benchmark["policies_same_classifier"]] == names
    assert (benchmark["videos"], benchmark["split"], benchmark["seed"]) == (12, "test", 0)
    assert benchmark["recognizer_sha256"] == _recognizer(pipeline, "stage1").fingerprint()


@pytest.mark.parametrize("table", ["policies", "policies_same_classifier"])
def test_every_policy_has_its_fields_and_rates_are_fractions(benchmark, table):
    for policy in benchmark[table]:
        assert policy.keys() >= FIELDS
        rates = [policy["top1"], *policy["top1_ci95"], *policy["top1_per_step"], policy["map"]]
        assert all(0.0 <= rate <= 1.0 for rate in [*rates, policy["on_target"]])
        assert len(policy["top1_per_step"]) == 2
        assert policy["top1"] == policy["top1_per_step"][-1]
        low, high = policy["top1_ci95"]
        assert low <= policy["top1"] <= high
        low, high = policy["reward_ci95"]
        assert low <= policy["reward_mean"] <= high
        assert policy["return_mean"] == pytest.approx(2 * policy["reward_mean"])


def test_both_tables_have_the_same_fields_and_the_same_rewards(benchmark):
    own, same = (_by_name(deepcopy(benchmark[t])) for t in ("policies", "policies_same_classifier"))
    for name, policy in own.items():
        assert policy.keys() == same[name].keys()
        for field in ("reward_mean", "reward_ci95", "return_mean", "on_target", "gmacs_per_video"):
            assert policy[field] == same[name][field], field
    # The oracle has no classifier of its own; the policies that it is compared with have.
    for policies in (own, same):
        for difference in policies["greedy_oracle"]["differences"].values():
            del difference["top1"], difference["confidence"]
    assert own["greedy_oracle"] == same["greedy_oracle"]
    assert own["learned"]["map"] != same["learned"]["map"]


def test_the_oracle_has_the_highest_reward(benchmark):
    policies = _by_name(benchmark["policies"])
    best = policies.pop("greedy_oracle")["reward_mean"]
    assert best > max(policy["reward_mean"] for policy in policies.values())


def test_the_share_on_target_of_the_center_is_that_of_the_drawn_videos(benchmark):
    # Frames 4 and 12 of 16; the patch at (26, 26), the upper left of the four in the middle.
    centers = np.stack([render_video(2001, index)[2][[4, 12]] for index in range(12)])
    inside = ((centers >= 26) & (centers < 26 + 32)).all(axis=2)
    on_target = _by_name(benchmark["policies"])["center"]["on_target"]
    assert on_target == pytest.approx(inside.mean())
    assert 0.0 < on_target < 1.0


def test_multiply_adds_grow_with_the_policy_and_with_every_position_tried(benchmark):
    cost = {name: p["gmacs_per_video"] for name, p in _by_name(benchmark["policies"]).items()}
    assert cost["random"] == cost["center"] < cost["learned"] < 1.1 * cost["random"]
    assert 5 * cost["random"] < cost["greedy_oracle"] < 16 * cost["random"]


def test_the_files_for_people_can_be_read(pipeline):
    folder = pipeline["benchmark"]
    text = (folder / "benchmark.md").read_text()
    for name in ("random", "center", "learned", "greedy_oracle"):
        assert text.count(f"| {name} |") == 4
    assert "12 videos of the split `test`" in text
    for picture in ("accuracy_per_step.png", "policies.png"):
        image = cv2.imread(str(folder / picture))
        assert image is not None
        assert image.std() > 1.0
    capture = cv2.VideoCapture(str(folder / "policies.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10 * 2  # ten videos of two frames
    ok, frame = capture.read()
    assert ok
    assert frame.shape[1] >= 2 * 448  # random beside learned
    printed = (folder.parent / "benchmark.out").read_text().splitlines()
    # Both classifiers, differences, habits.
    assert sum(line.split()[:1] == ["greedy_oracle"] for line in printed) == 4
    assert max(len(line.rstrip()) for line in printed if str(folder) not in line) <= 80


# --- evaluate ---


def test_evaluate_judges_the_policy_beside_the_recognizer(pipeline, benchmark):
    result = json.loads((pipeline["evaluate"] / "evaluate.json").read_text())
    (policy,) = result["policies"]
    assert policy.keys() >= FIELDS - REWARD_FIELDS
    assert policy.keys().isdisjoint(REWARD_FIELDS)
    assert policy["name"] == "learned"
    expected = _by_name(benchmark["policies"])["learned"]
    # The same looks and the same classifier as in the benchmark's table of own classifiers.
    for field in ("top1", "top1_per_step", "top5_per_step", "map", "map_per_step", "on_target"):
        assert policy[field] == pytest.approx(expected[field], abs=1e-6), field
    assert result["recognizer_sha256"] == _recognizer(pipeline, "stage3_learned").fingerprint()


def _evaluate(run_command, tiny, folder, *overrides):
    done = run_command("evaluate", *tiny, f"output_dir={folder}", *overrides)
    assert done.code == 0, done.err
    return json.loads((folder / "evaluate.json").read_text())


@pytest.mark.parametrize("policy", ["random", "center", "greedy_oracle"])
def test_evaluate_judges_baseline_agents_by_name(
    run_command, tiny, pipeline, benchmark, tmp_path, policy
):
    resume = f"resume={pipeline['stage1']}"
    result = _evaluate(run_command, tiny, tmp_path, resume, f"policy={policy}", "reward=random")
    (got,) = result["policies"]
    expected = _by_name(benchmark["policies_same_classifier"])[policy]
    for field in FIELDS - {"name"}:
        assert got[field] == pytest.approx(expected[field], abs=1e-6), field


@pytest.mark.parametrize(("split", "videos"), [("train", 20), ("val", 10)])
def test_evaluate_sees_the_frames_of_evaluation_whatever_the_seed(
    run_command, tiny, pipeline, tmp_path, split, videos
):
    results = []
    for seed in (0, 1):
        given = [f"resume={pipeline['stage1']}", "policy=center", "reward=conf", f"split={split}"]
        folder = tmp_path / str(seed)
        results.append(_evaluate(run_command, tiny, folder, *given, f"seed={seed}"))
    assert [result["videos"] for result in results] == [videos, videos]
    one, other = (result["policies"][0] for result in results)
    # The center draws nothing, and `conf` subtracts nothing: only the frames could differ.
    assert one["reward_mean"] == pytest.approx(other["reward_mean"], abs=1e-6)
    assert one["on_target"] == other["on_target"]


# --- a run can be repeated ---


def test_every_job_of_a_sweep_has_a_folder_of_its_own(run_command, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_command("stage0", *tiny, "seed=3,4", "--multirun")
    assert done.code == 0, done.err
    seeds = [
        yaml.safe_load(file.read_text())["seed"]
        for file in tmp_path.rglob("config.yaml")
        if file.parent.name != ".hydra"
    ]
    assert sorted(seeds) == [3, 4]
    assert len(list(tmp_path.rglob("backbone.safetensors"))) == 2


def test_the_same_seed_trains_the_same_policy(run_command, tiny, pipeline, tmp_path):
    given = [f"resume={pipeline['stage1']}", "epochs=2"]
    done = run_command("stage2", *tiny, f"output_dir={tmp_path}", *given)
    assert done.code == 0, done.err
    one, other = (load_policy(f / "policy").policy for f in (pipeline["stage2"], tmp_path))
    assert _differing(one, other) == set()


def test_the_same_seed_trains_the_same_recognizer(run_command, tiny, pipeline, tmp_path):
    parts = [f"pretrained_{part}={pipeline[part]}" for part in ("glancer", "focuser")]
    done = run_command("stage1", *tiny, f"output_dir={tmp_path}", *parts, "num_workers=2")
    assert done.code == 0, done.err
    expected = _recognizer(pipeline, "stage1").fingerprint()
    assert Recognizer.load(tmp_path / "recognizer").fingerprint() == expected
