"""Skipping frames in training, evaluation and benchmarks (AdaFocus+)."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import FrozenNetworks, Recognizer
from agents.policies.policy_files import load_policy, save_policy
from train.config.keys import ConfigError
from train.evaluation.policies import BlindFrames, PolicyEntry, read_entries
from train.stages.chosen_patches import ChosenPatchStage, choose_patches
from train.stages.stage1_random_patches import RandomPatchStage
from train.stages.supervised.data import Chance

GRID = PatchGrid(4, 40, 12)
# Two clips of four frames: rates 0.25 and 0.75.
DRAWN = torch.tensor([[0.0, 0.2, 0.3, 0.9]] * 2, dtype=torch.float64)
RATES = torch.tensor([0.25, 0.75], dtype=torch.float64)
CHANCE = Chance(torch.zeros(2, 4, 2, dtype=torch.float64), DRAWN, RATES)


def test_a_frame_is_kept_where_its_number_reaches_the_rate_and_costs_are_the_environments():
    assert CHANCE.focused(0.25).int().tolist() == [[0, 0, 1, 1]] * 2
    assert CHANCE.focused("random").int().tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    assert CHANCE.focused(None).all()
    assert not CHANCE.focused(1.0).any()
    assert CHANCE.focused(0.0).all()
    assert CHANCE.costs(None).tolist() == pytest.approx([0.2 * 0.25**3, 0.2 * 0.75**3])
    assert CHANCE.costs(0.125).tolist() == [0.125, 0.125]


@pytest.fixture
def batch(make_videos, make_batch):
    """Two clips of `(4, 3, 40, 40)`."""
    return make_batch(make_videos(2), CHANCE)


@pytest.fixture
def recognizer(tiny_recognizer):
    """With weights that may be trained."""
    copied = Recognizer(tiny_recognizer.config)
    copied.load_state_dict(tiny_recognizer.state_dict())
    return copied.eval()


def _logits_with_zeros(recognizer, batch, focused):
    """Patches in the upper left corner of the kept frames."""
    networks = FrozenNetworks(recognizer)
    flat = batch.frames.flatten(0, 1)
    _, glances = networks.glance(flat)
    patches = networks.focus(flat, torch.zeros(len(flat), 2, dtype=torch.int64))
    vectors = patches * focused.flatten()[:, None]
    each = (part.unflatten(0, batch.frames.shape[:2]) for part in (glances, vectors))
    with torch.no_grad():
        return recognizer.classify_sequence(*each)[0]


@pytest.mark.parametrize("skip_rate", [0.25, "random", 1.0])
def test_stages_1_and_3_give_the_classifier_zeros_for_skipped_frames(
    recognizer, batch, monkeypatch, skip_rate
):
    counts, focus = [], FrozenNetworks.focus

    def count(self, frames, offsets, **how):
        counts.append(len(offsets))
        return focus(self, frames, offsets, **how)

    kept = CHANCE.focused(skip_rate)
    expected = _logits_with_zeros(recognizer, batch, kept)
    monkeypatch.setattr(FrozenNetworks, "focus", count)
    corner = choose_patches("random", GRID, recognizer)  # places of 0 are position 0
    for stage in (
        RandomPatchStage(recognizer, 0.1, 0.1, skip_rate=skip_rate),
        ChosenPatchStage(recognizer, corner, 0.1, skip_rate=skip_rate),
    ):
        with torch.no_grad():
            torch.testing.assert_close(stage(batch), expected, atol=1e-4, rtol=0.0)
    assert sum(counts) == kept.sum()  # stage 3 focuses on kept patches alone


@pytest.mark.parametrize("told", [0, 1])
def test_stage_3_skips_where_a_policy_skips(recognizer, batch, small_policy, tmp_path, told):
    channels, *places = recognizer.map_shape()
    policy = small_policy(17, (channels + told, *places))
    policy.sees_cost = bool(told)
    with torch.no_grad():
        policy.actor.weight.zero_()
        policy.actor.bias[-1] += 10.0
    save_policy(policy, tmp_path / "policy", recognizer_sha256="")
    choose = choose_patches(str(tmp_path), GRID, recognizer)
    stage = ChosenPatchStage(recognizer, choose, 0.1)
    expected = _logits_with_zeros(recognizer, batch, torch.zeros(2, 4, dtype=torch.bool))
    with torch.no_grad():
        torch.testing.assert_close(stage(batch), expected, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        ("stage3", "skip_cost=-1", "skip_cost=-1 must be a number, 0 or more, or random, or null"),
        ("stage3", "skip_cost=free", "skip_cost='free' must be a number, 0 or more, or random, or"),
        ("stage3", "skip_rate=1.5", "skip_rate=1.5 must be a number, 0 to 1, or random, or null"),
        ("stage2", "skip_cost=0.1", r"skip_cost=0\.1 is for policies that skip: locations="),
    ],
)
def test_costs_and_rates_are_numbers_or_random_and_for_policies_that_skip(
    make_config, command, given, message
):
    with pytest.raises(ConfigError, match=message):
        make_config(command, given)


def _entries(make_config, *policies):
    listed = ",".join(f"'{policy}'" for policy in policies)
    return read_entries(make_config("benchmark", "resume=a", f"policies=[{listed}]"))


@pytest.fixture
def run(tmp_path):
    """The shell of a run folder with a policy."""
    (tmp_path / "run" / "policy").mkdir(parents=True)
    return tmp_path / "run"


def test_a_cost_after_the_name_is_told_to_the_policy(make_config, run):
    assert _entries(make_config, f"plus@0.05:{run}", f"plus@0.1:{run}", "learned@.25") == [
        PolicyEntry("plus", (str(run),), skip_cost=0.05),
        PolicyEntry("plus", (str(run),), skip_cost=0.1),
        PolicyEntry("learned", ("a",), skip_cost=0.25),
    ]


def test_frames_that_are_kept_blindly_take_the_looks_of_another_policy(make_config, run):
    names = ["random_skip:plus@0.05:plus@0.05", "uniform_skip:4:fixed:24"]
    plus, *found = _entries(make_config, f"plus@0.05:{run}", *names)
    assert found == [
        replace(plus, frames=BlindFrames("random_skip", "plus@0.05")),
        PolicyEntry("fixed:24", frames=BlindFrames("uniform_skip", 4.0)),
    ]
    assert [entry.name for entry in found] == names
    assert [entry.agent for entry in found] == ["plus@0.05", "fixed:24"]


@pytest.fixture(scope="module")
def skip_run(run_tiny, handed_on, tmp_path_factory):
    """Stage 2 with one policy for all costs."""
    folder = tmp_path_factory.mktemp("skip")
    rules = ["locations=skip", "reward=skip", "skip_cost=random"]
    run_tiny("stage2", folder, f"resume={handed_on['stage1']}", *rules)
    return folder


def test_stage_2_trains_one_policy_for_all_costs_and_stage_3_continues(
    run_tiny, skip_run, tmp_path
):
    policy = load_policy(skip_run / "policy").policy
    assert policy.action_space == spaces.Discrete(17)
    assert policy.observation_space.shape == (49, 7, 7)
    run_tiny("stage3", tmp_path, f"resume={skip_run}")
    assert (tmp_path / "policy").is_dir()


def test_evaluate_says_what_was_executed(refused, judge, skip_run, tmp_path):
    said = refused("evaluate", f"resume={skip_run}")
    assert "must be told one: use skip_cost=0.05" in said
    row = judge(tmp_path, f"resume={skip_run}", "skip_cost=0.05")
    assert 0.0 <= row["kept_share"] <= 1.0
    assert row["skip_cost"] == 0.05
    # Nothing but the inference itself is computed: no reward is asked for.
    assert row["gmacs_per_video"] == pytest.approx(row["gmacs_executed_per_video"], rel=1e-6)


@pytest.fixture(scope="module")
def skip_policies(skip_run):
    """Of the benchmark and of the recording."""
    policies = f"""random plus@0.05:{skip_run} plus@0.0:{skip_run} random_skip:0.5:center
        random_skip:plus@0.05:plus@0.05 uniform_skip:1:plus@0.05"""
    return f"policies=[{','.join(repr(policy) for policy in policies.split())}]"


@pytest.fixture(scope="module")
def skip_benchmark(run_tiny, skip_run, skip_policies, tmp_path_factory):
    """The folder of a benchmark of these policies."""
    folder = tmp_path_factory.mktemp("skip_benchmark")
    run_tiny("benchmark", folder, f"resume={skip_run}", skip_policies, "conditional_exit=true")
    return folder


def test_a_benchmark_compares_skipping_at_the_same_cost(skip_benchmark):
    result = json.loads((skip_benchmark / "benchmark.json").read_text())
    rows = {row["name"]: row for row in result["policies"]}
    assert rows["random"]["kept_share"] == 1.0
    assert rows["uniform_skip:1:plus@0.05"]["kept_share"] == 0.5  # one of two frames
    for row in rows.values():
        assert sum(row["gmacs_per_step"]) == pytest.approx(row["gmacs_per_video"])
        assert np.mean(row["kept_per_step"]) == pytest.approx(row["kept_share"])
    assert "random_skip:plus@0.05:plus@0.05" in rows["plus@0.05"]["differences"]
    assert not rows["random_skip:0.5:center"]["learned"]
    assert rows["plus@0.05"]["conditional_exit"] is not None
    assert rows["random_skip:0.5:center"]["conditional_exit"] is None
    assert "Skipping frames" in (skip_benchmark / "benchmark.md").read_text()


def test_a_recording_shows_the_looks_that_the_benchmark_judged(
    run_tiny, skip_run, skip_policies, skip_benchmark, tmp_path, monkeypatch
):
    shown = {}
    monkeypatch.setattr(
        "train.evaluation.record.write_recording",
        lambda target, videos, chosen, panels, **how: shown.update(panels),
    )
    run_tiny("record", tmp_path, f"resume={skip_run}", skip_policies, "videos=12")
    with (skip_benchmark / "benchmark.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["draw"] == "0"]
    assert list(shown) == list(dict.fromkeys(row["policy"] for row in rows))
    for row in rows:
        panel, video = shown[row["policy"]], int(row["video"])
        columns = [panel.focused()[video].astype(int), *panel.boxes[video, :, :2].T]
        expected = [row[name].split() for name in ("focused", "tops", "lefts")]
        assert [[str(value) for value in column] for column in columns] == expected
