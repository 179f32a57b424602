"""`adafocus evaluate`: what it judges by default, what it costs, what it writes."""

import io

import numpy as np
import pytest
from rich.console import Console

from adafocus_env.networks import FrozenNetworks
from agents.evaluation import evaluate_agent
from train.evaluation import evaluator
from train.evaluation.report.text import write_evaluation


@pytest.fixture
def evaluate(judge, tmp_path):
    """Judges what is in a run folder, as `judge` does."""
    return lambda resume, *overrides: judge(tmp_path, f"resume={resume}", *overrides)


@pytest.fixture
def counted(monkeypatch):
    """Notes how many patches the focuser looks at in each call."""
    seen = []
    focus = FrozenNetworks.focus

    def count(networks, frames, offsets, **how):
        seen.append(len(offsets))
        return focus(networks, frames, offsets, **how)

    monkeypatch.setattr(FrozenNetworks, "focus", count)
    return seen


def test_the_best_actions_of_the_policy_in_the_run_are_judged_at_one_patch_a_frame(
    stage2_run, evaluate, counted
):
    result = evaluate(stage2_run, "batch_size=6")
    # 12 videos of 2 frames, and once more a video whose multiply-adds are counted.
    assert counted == [6 * 2, 6 * 2, 2]
    assert (result["name"], result["num_draws"], result["videos"]) == ("learned", 1, 12)
    assert result["reward"] is None
    assert "reward_mean" not in result
    # A reward that is asked for needs the patches that it compares with.
    counted.clear()
    result = evaluate(stage2_run, "batch_size=6", "reward=random")
    assert counted == [2 * 6 * 2, 2 * 6 * 2, 2 * 2]
    assert result["reward"] == "random"
    assert -1.0 < result["reward_mean"] < 1.0


def test_without_a_policy_patches_lie_at_random_pixels_as_stage_1_is_validated(handed_on, evaluate):
    result = evaluate(handed_on["stage1"], "draws=null")
    assert (result["name"], result["num_draws"]) == ("random_offsets", 1)
    assert result["gmacs_by_part"].keys() == {"glancer", "focuser", "classifier"}
    for text in (result["printed"], result["markdown"]):
        assert "random_offsets: patches at random pixels, as stage 1 is validated" in text
    again = evaluate(handed_on["stage1"], "policy=random_offsets", "draws=null")
    assert again["top1_per_step"] == result["top1_per_step"]
    assert again["map_per_step"] == result["map_per_step"]


def test_a_policy_that_is_named_must_be_there(refused, handed_on):
    given = [f"{key}={handed_on['stage1']}" for key in ("resume", "policy")]
    assert "no policy in" in refused("evaluate", *given)


def test_draws_are_averaged_and_the_time_they_took_is_said(handed_on, evaluate):
    result = evaluate(handed_on["stage1"], "draws=3")
    assert result["num_draws"] == 3
    assert "mean of 3 draws" in result["markdown"]
    assert result["seconds"] > 0.0
    # Three draws of 12 videos were played.
    assert result["videos_per_second"] == pytest.approx(36 / result["seconds"])
    assert result["device"].startswith("cpu")
    assert f"{result['videos_per_second']:.1f}" in result["printed"]


def test_it_sees_the_frames_of_evaluation_whatever_the_split_and_the_seed(handed_on, evaluate):
    given = [handed_on["stage1"], "policy=center", "reward=conf", "split=train"]
    one, other = (evaluate(*given, f"seed={seed}") for seed in (0, 1))
    assert one["videos"] == other["videos"] == 20
    # The center draws nothing, and `conf` subtracts nothing: only the frames could differ.
    assert one["reward_mean"] == pytest.approx(other["reward_mean"], abs=1e-6)
    assert one["on_target"] == other["on_target"]


def test_every_number_is_the_one_of_the_evaluations_logits(stage2_run, evaluate, monkeypatch):
    seen = []

    def remember(*arguments, **settings):
        seen.append(evaluate_agent(*arguments, **settings))
        return seen[-1]

    monkeypatch.setattr(evaluator, "evaluate_agent", remember)
    result = evaluate(stage2_run)
    logits, labels = seen[0].logits, seen[0].label
    for t in range(2):
        best = np.argsort(-logits[:, t], axis=1, kind="stable")
        top5 = np.mean([label in row[:5] for label, row in zip(labels, best, strict=True)])
        assert result["top1_per_step"][t] == pytest.approx((best[:, 0] == labels).mean())
        assert result["top5_per_step"][t] == pytest.approx(top5)
    for name in ("top1", "top5", "map"):
        assert result[name] == result[f"{name}_per_step"][-1]
    # 12 videos of the ten classes in turn.
    assert result["map_missing_classes"] == 0
    assert result["gmacs_per_video"] == pytest.approx(sum(result["gmacs_by_part"].values()))
    assert result["gmacs_by_part"].keys() == {"glancer", "focuser", "classifier", "policy"}


@pytest.fixture
def report(tmp_path):
    """Writes a report of made-up numbers; gives the Markdown and what was printed."""

    def write(**changes):
        policy = {
            "name": "learned", "num_draws": 1, "top1": 0.71234, "top1_ci95": [0.70, 0.72],
            "top5": 0.9, "map": 0.7501, "top1_per_step": [0.5, 0.71234],
            "top5_per_step": [0.8, 0.9], "map_per_step": [0.55, 0.7501], "map_missing_classes": 0,
            "on_target": None, "gmacs_per_video": 26.522,
            "gmacs_executed_per_video": 26.522, "kept_share": 1.0, "skip_cost": None,
            "gmacs_by_part": {
                "glancer": 4.792, "focuser": 21.353, "classifier": 0.217, "policy": 0.159
            },
        }  # fmt: skip
        result = {
            "videos": 4926, "classes": 200, "split": "val", "reward": None, "map_rule": "standard",
            "map_labels": "all", "seconds": 100.0, "videos_per_second": 49.26, "device": "cpu",
            "features": "live",
        }  # fmt: skip
        for name, value in changes.items():
            (policy if name in policy or name == "reward_mean" else result)[name] = value
        console = Console(file=(printed := io.StringIO()), width=80)
        write_evaluation({**result, "policies": [policy]}, tmp_path, console)
        return (tmp_path / "evaluate.md").read_text(), printed.getvalue()

    return write


def test_the_report_has_the_result_each_step_and_the_cost(report):
    markdown, printed = report()
    assert "| 0.7123 | 0.700 to 0.720 | 0.9000 | 0.7501 | 26.52 | 49.3 |" in markdown
    assert "| 1 | 0.5000 | 0.8000 | 0.5500 |" in markdown
    assert "| 2 | 0.7123 | 0.9000 | 0.7501 |" in markdown
    cost = "glancer 4.792 + focuser 21.35 + classifier 0.217 + policy 0.159 = 26.52 G"
    assert cost in markdown
    assert "learned: 4926 videos, split val" in printed
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80


def test_missing_classes_and_fewer_than_five_are_said_in_the_report(report):
    text = report(map_missing_classes=3)[0]
    assert "3 of 200 classes have no video and are left out of the mAP" in text
    text = report(map_missing_classes=3, map_rule="published")[0]
    assert "3 of 200 classes have no video; the published rule counts as many as 0" in text
    assert "have no video" not in report()[0]
    markdown, _ = report(classes=3)
    assert "top-3" in markdown
    assert "top-5" not in markdown


def test_reward_and_target_are_shown_where_they_are_known(report):
    markdown, printed = report(reward="random", reward_mean=0.0312, on_target=0.72)
    assert "| 0.0312 | 0.72 |" in markdown
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80
