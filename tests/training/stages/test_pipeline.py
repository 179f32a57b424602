"""The demo on tiny videos: what its parts write, how they fit, and that they can be repeated."""

import csv
import json
from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adafocus_env.data.glyphs.localization import render_video
from adafocus_env.envs import PatchLocalizationEnv
from adafocus_env.networks import Recognizer
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.policy_files import load_policy
from train import demo as demo_module
from train.cli.run_place import DEMO_FOLDER
from train.evaluation import shipped_policy

pytestmark = pytest.mark.slow

NAMES = ["random", "center", "learned", "greedy_oracle"]
# What `evaluate` says without a reward, and with one.
FIELDS = {
    "top1", "top1_ci95", "top1_per_step", "top5", "top5_per_step", "map", "map_per_step",
    "map_missing_classes", "on_target", "gmacs_per_video",
}  # fmt: skip
REWARD_FIELDS = {"reward_mean", "reward_ci95", "return_mean"}


@pytest.fixture(scope="module")
def demo(run_command, tiny, shrink_splits, tmp_path_factory):
    """A demo where an earlier one was; its working folder and what it printed."""
    here = tmp_path_factory.mktemp("demo")
    (here / DEMO_FOLDER).mkdir(parents=True)
    (here / DEMO_FOLDER / "note.txt").write_text("the earlier one")
    with pytest.MonkeyPatch.context() as patch:
        shrink_splits(patch)
        patch.chdir(here)
        patch.setattr(demo_module, "shipped_recognizer", lambda: here / "shipped")
        patch.setattr(shipped_policy, "NUM_VIDEOS", 4)
        return here, run_command("demo", *tiny, "ship=true").out


@pytest.fixture(scope="module")
def pipeline(demo):
    """All stages and the benchmark on the tiny videos, as the demo runs them: part -> folder."""
    folder = demo[0] / DEMO_FOLDER
    runs = {part: folder / part for part in ("stage1", "stage2")}
    runs.update({part: folder / f"stage0_{part}" for part in ("glancer", "focuser")})
    stage3 = [f"stage3_{name}" for name in ("random", "center", "learned")]
    return {**runs, **{part: folder / part for part in stage3}, "benchmark": folder}


@pytest.fixture(scope="module")
def benchmark(pipeline):
    """`benchmark.json`."""
    return json.loads((pipeline["benchmark"] / "benchmark.json").read_text())


def _by_name(policies):
    return {policy["name"]: policy for policy in policies}


@pytest.mark.parametrize(
    ("part", "files"),
    [
        ("glancer", "glancer/backbone.json glancer/backbone.safetensors"),
        ("focuser", "focuser/backbone.json focuser/backbone.safetensors"),
        ("stage1", "recognizer/recognizer.json recognizer/recognizer.safetensors"),
        ("stage2", "policy/policy.json policy/policy.safetensors algorithm.zip "
                   "recognizer/recognizer.json"),
        ("stage3_random", "recognizer/recognizer.safetensors"),
        ("stage3_learned", "recognizer/recognizer.safetensors policy/policy.safetensors"),
    ],
)  # fmt: skip
def test_every_stage_writes_its_result_its_resolved_configuration_and_events(pipeline, part, files):
    for file in files.split():
        assert (pipeline[part] / file).stat().st_size > 0, file
    text = (pipeline[part] / "config.yaml").read_text()
    assert "${" not in text
    config = yaml.safe_load(text)
    assert config["command"] == {"glancer": "stage0", "focuser": "stage0"}.get(part, part[:6])
    assert (config["num_frames"], config["batch_size"], config["epochs"]) == (2, 10, 1)
    events = EventAccumulator(str(pipeline[part] / "tensorboard")).Reload()
    if part == "stage2":
        tags = {"rollout/ep_rew_mean", "rollout/success_rate", "train/loss"}
        table = (pipeline[part] / "tensorboard" / "progress.csv").read_text()
        returns = [row.get("val/return") for row in csv.DictReader(table.splitlines())]
        assert len([value for value in returns if value]) == 1  # one epoch, the last
    else:
        tags = {"train/loss", "train/top1", "val/top1", "train/learning_rate"}
    assert tags <= set(events.Tags()["scalars"])


def test_each_part_is_one_line_without_a_terminal(demo):
    lines = demo[1].splitlines()
    stage1 = [
        f"stage 1: {name}, random patches" for name in ("focuser and classifier", "classifier")
    ]
    for part in ("stage 0: glancer", *stage1, "stage 2: policy"):
        assert sum(line.startswith(f"{part}: ") for line in lines) == 1
    assert sum(line.startswith("stage 3: ") for line in lines) == 3
    assert "\x1b" not in demo[1]


def test_it_ends_with_the_table_and_the_paths_of_what_to_look_at(demo):
    here, out = demo
    table, _, looks = out.partition(f"What to look at in {DEMO_FOLDER}:")
    assert sum(line.split()[:1] == ["greedy_oracle"] for line in table.splitlines()) == 2
    shown = [
        line.split()[0] for line in looks.splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert len(shown) == 8
    for name in shown:
        assert (here / DEMO_FOLDER / name).exists(), name
    assert "gymnasium.make" in looks


def test_the_earlier_demo_is_renamed_and_nothing_is_lost(demo):
    here, out = demo
    (earlier,) = (here / "outputs").glob("demo-*")
    assert (earlier / "note.txt").read_text() == "the earlier one"
    assert not (here / DEMO_FOLDER / "note.txt").exists()
    assert f"an earlier {DEMO_FOLDER} is now outputs/{earlier.name}" in out


def _recognizer(pipeline, part):
    return Recognizer.load(pipeline[part] / "recognizer")


def test_stage_1_keeps_the_glancer_of_stage_0_and_trains_its_focuser(demo, pipeline, changed):
    recognizer = _recognizer(pipeline, "stage1")
    assert not changed(pipeline["glancer"] / "glancer", recognizer.glancer)
    assert changed(pipeline["focuser"] / "focuser", recognizer.focuser)
    assert Recognizer.load(demo[0] / "shipped").fingerprint() == recognizer.fingerprint()


def test_stage_1_ends_with_a_new_classifier_on_the_networks_of_its_bank(demo, pipeline, changed):
    folder, recognizer = demo[0] / DEMO_FOLDER, _recognizer(pipeline, "stage1")
    beside_the_focuser = Recognizer.load(folder / "stage1_focuser" / "recognizer")
    assert recognizer.fingerprint() != beside_the_focuser.fingerprint()
    for part in ("glancer", "focuser"):
        ours, theirs = (getattr(r, part).state_dict() for r in (recognizer, beside_the_focuser))
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    config = yaml.safe_load((folder / "stage1" / "config.yaml").read_text())
    assert config["features"] == "bank:outputs/demo/bank"


def test_stage_2_changes_no_bit_of_the_recognizer(pipeline):
    before, after = (_recognizer(pipeline, part) for part in ("stage1", "stage2"))
    assert before.fingerprint() == after.fingerprint()
    saved = load_policy(pipeline["stage2"] / "policy")
    assert saved.recognizer_sha256 == before.fingerprint()
    assert saved.policy.hidden_dim == 16
    assert int(saved.policy.action_space.n) == 16
    # Who trusts it can load the algorithm too.
    assert GruPPO.load(pipeline["stage2"] / "algorithm.zip", device="cpu")._n_updates > 0


def test_stage_3_changes_the_classifier_alone_and_hands_on_its_policy(run_tiny, pipeline, changed):
    # It does not write into the folder it starts from: that one's recognizer would be lost.
    done = run_tiny("stage3", pipeline["stage2"], f"resume={pipeline['stage2']}", code=2)
    assert "holds a run of stage2, whose config.yaml stage3 would overwrite" in done.err
    stages = {name: pipeline[f"stage3_{name}"] for name in ("random", "center", "learned")}
    for folder in stages.values():
        weights = changed(pipeline["stage2"] / "recognizer", folder / "recognizer")
        assert {weight.split(".")[0] for weight in weights} == {"classifier"}
    assert not changed(pipeline["stage2"] / "policy", stages["learned"] / "policy")
    assert not (stages["random"] / "policy").exists()


def test_the_recognizer_of_a_run_makes_an_environment(pipeline, tiny_videos):
    recognizer = str(pipeline["stage3_learned"] / "recognizer")
    env = PatchLocalizationEnv(recognizer=recognizer, data_dir=str(tiny_videos))
    env.reset(seed=0)
    assert np.isfinite(env.step(24)[1])
    assert env.num_decisions == 2


def test_the_benchmark_holds_the_named_policies_and_what_it_was_made_from(benchmark, pipeline):
    assert [policy["name"] for policy in benchmark["policies"]] == NAMES
    assert [policy["name"] for policy in benchmark["policies_same_classifier"]] == NAMES
    own = {policy["name"]: policy["classifier"] == "own" for policy in benchmark["policies"]}
    assert own == dict(zip(NAMES, (True, True, True, False), strict=True))
    assert (benchmark["videos"], benchmark["split"], benchmark["seed"]) == (12, "test", 0)
    assert benchmark["recognizer_sha256"] == _recognizer(pipeline, "stage1").fingerprint()


def test_every_policy_has_its_fields_and_rates_are_fractions(benchmark):
    for policy in [*benchmark["policies"], *benchmark["policies_same_classifier"]]:
        assert policy.keys() >= FIELDS | REWARD_FIELDS
        rates = [policy["top1"], *policy["top1_ci95"], *policy["top1_per_step"], policy["map"]]
        assert all(0.0 <= rate <= 1.0 for rate in [*rates, policy["on_target"]])
        assert len(policy["top1_per_step"]) == 2
        assert policy["top1"] == policy["top1_per_step"][-1]
        for low, mean, high in (
            (policy["top1_ci95"][0], policy["top1"], policy["top1_ci95"][1]),
            (policy["reward_ci95"][0], policy["reward_mean"], policy["reward_ci95"][1]),
        ):
            assert low <= mean <= high
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
            del difference["top1"], difference["confidence"], difference["log_likelihood"]
    assert own["greedy_oracle"] == same["greedy_oracle"]
    assert own["learned"]["map"] != same["learned"]["map"]


def test_the_oracle_has_the_highest_reward_and_tries_every_position(benchmark):
    policies = _by_name(benchmark["policies"])
    rewards = {name: policy["reward_mean"] for name, policy in policies.items()}
    assert max(rewards, key=rewards.get) == "greedy_oracle"
    cost = {name: policy["gmacs_per_video"] for name, policy in policies.items()}
    assert cost["random"] == cost["center"] < cost["learned"] < 1.2 * cost["random"]
    assert 5 * cost["random"] < cost["greedy_oracle"] < 16 * cost["random"]


def test_the_share_on_target_of_the_center_is_that_of_the_drawn_videos(benchmark):
    # Frames 4 and 12 of 16; the patch at (26, 26), the upper left of the four in the middle.
    centers = np.stack([render_video(2001, index)[2][[4, 12]] for index in range(12)])
    inside = ((centers >= 26) & (centers < 26 + 32)).all(axis=2)
    on_target = _by_name(benchmark["policies"])["center"]["on_target"]
    assert on_target == pytest.approx(inside.mean())
    assert 0.0 < on_target < 1.0


def test_the_files_for_people_can_be_read(pipeline):
    folder = pipeline["benchmark"]
    for file in ("benchmark.csv", "report.html", "config.yaml", "demo.log"):
        assert (folder / file).stat().st_size > 0, file
    text = (folder / "benchmark.md").read_text()
    for name in NAMES:
        tables = 5 if name in ("random", "learned") else 4  # they also play glyphs_memory
        assert text.count(f"| {name} |") == tables
    assert "12 videos of the split `test`" in text
    for picture in ("accuracy_per_step.png", "accuracy_per_macs.png", "policies.png"):
        assert cv2.imread(str(folder / picture)).std() > 1.0
    capture = cv2.VideoCapture(str(folder / "policies.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10 * 2  # ten videos of two frames
    assert capture.read()[1].shape[1] >= 2 * 448  # random beside learned


def test_evaluate_judges_the_policy_beside_the_recognizer(judge, pipeline, benchmark, tmp_path):
    policy = judge(tmp_path, f"resume={pipeline['stage3_learned']}")
    assert policy.keys() >= FIELDS
    assert policy.keys().isdisjoint(REWARD_FIELDS)
    assert policy["name"] == "learned"
    expected = _by_name(benchmark["policies"])["learned"]
    # The same looks and the same classifier as in the benchmark's table of own classifiers.
    for field in FIELDS - {"top1_ci95", "gmacs_per_video"}:
        assert policy[field] == pytest.approx(expected[field], abs=1e-6), field
    assert policy["recognizer_sha256"] == _recognizer(pipeline, "stage3_learned").fingerprint()


@pytest.mark.parametrize("policy", ["random", "center", "greedy_oracle"])
def test_evaluate_judges_baseline_agents_by_name(judge, pipeline, benchmark, tmp_path, policy):
    given = [f"resume={pipeline['stage1']}", f"policy={policy}", "reward=random"]
    got = judge(tmp_path, *given, f"features=bank:{pipeline['benchmark']}/bank")
    expected = _by_name(benchmark["policies_same_classifier"])[policy]
    for field in FIELDS | REWARD_FIELDS:
        assert got[field] == pytest.approx(expected[field], abs=1e-6), field


def test_the_same_seed_trains_the_same_policy_and_the_same_recognizer(
    run_tiny, pipeline, changed, tmp_path
):
    features = f"features=bank:{pipeline['benchmark']}/bank"
    run_tiny("stage2", tmp_path / "2", f"resume={pipeline['stage1']}", features)
    assert not changed(pipeline["stage2"] / "policy", tmp_path / "2" / "policy")
    parts = [f"pretrained_{part}={pipeline[part]}" for part in ("glancer", "focuser")]
    run_tiny("stage1", tmp_path / "1", *parts, "num_workers=2")
    live = pipeline["benchmark"] / "stage1_focuser"
    assert not changed(live / "recognizer", tmp_path / "1" / "recognizer")
