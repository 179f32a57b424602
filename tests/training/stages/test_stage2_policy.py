"""Stage 2: when it evaluates, which policy it keeps, and what its settings reach."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.evaluation import evaluate_agent
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.policy_files import load_policy
from train.stages import stage2_policy


@pytest.fixture
def train_policy(run_command, tiny, pipeline, tmp_path):
    """Runs stage 2 on the pipeline's recognizer; gives its run folder."""

    def run(*overrides):
        folder = tmp_path / "stage2"
        resume = f"resume={pipeline['stage1']}"
        done = run_command("stage2", *tiny, f"output_dir={folder}", resume, *overrides)
        assert done.code == 0, done.err
        return folder

    return run


def _evaluations(folder):
    """Epoch -> return on the validation split, from the log."""
    pattern = r"epoch (\d+)/\d+: val return (-?\d+\.\d+)"
    found = re.findall(pattern, (folder / "stage2.log").read_text())
    return {int(epoch): float(value) for epoch, value in found}


@pytest.mark.parametrize(
    ("epochs", "eval_freq", "evaluated"), [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (2, 5, [2])]
)
def test_the_policy_is_judged_every_few_epochs_and_at_the_end(
    train_policy, epochs, eval_freq, evaluated
):
    folder = train_policy(f"epochs={epochs}", f"eval_freq={eval_freq}")
    assert list(_evaluations(folder)) == evaluated
    model = GruPPO.load(folder / "algorithm.zip", device="cpu")
    assert model.num_timesteps == epochs * 20 * 2  # 20 videos of two frames an epoch


def test_the_first_policy_of_the_highest_return_is_kept(train_policy, monkeypatch):
    returns, seen = [0.1, 0.9, 0.9, 0.2], []

    def scripted(env, policy, **_):
        result = evaluate_agent(env, policy)
        seen.append(policy.actor.weight.detach().clone())
        rewards = np.full_like(result.rewards, returns[len(seen) - 1] / result.rewards.shape[1])
        return replace(result, rewards=rewards)

    monkeypatch.setattr(stage2_policy, "evaluate_agent", scripted)
    folder = train_policy("epochs=4")
    focused = load_policy(folder / "policy").policy.actor.weight
    assert torch.equal(focused, seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert list(_evaluations(folder).values()) == pytest.approx(returns)


def test_a_policy_is_kept_whose_return_is_the_one_in_the_log(
    train_policy, run_command, tiny, tmp_path
):
    folder = train_policy("epochs=2", "reward=expected")
    returns = _evaluations(folder)
    given = [f"resume={folder}", "split=val", "reward=expected", f"output_dir={tmp_path / 'eval'}"]
    assert run_command("evaluate", *tiny, *given).code == 0
    (policy,) = json.loads((tmp_path / "eval" / "evaluate.json").read_text())["policies"]
    assert policy["return_mean"] == pytest.approx(max(returns.values()), abs=1e-4)


def test_settings_of_the_algorithm_reach_it(train_policy):
    overrides = ["algo.gamma=0.3", "algo.n_epochs=2", "algo.preset=paper", "seed=7"]
    model = GruPPO.load(train_policy(*overrides) / "algorithm.zip", device="cpu")
    assert (model.gamma, model.n_epochs, model.seed) == (0.3, 2, 7)
    assert model.policy.arguments()["clamp_probs"]
    assert model.policy.hidden_dim == 16


def test_a_rate_that_falls_linearly_can_be_given(train_policy):
    folder = train_policy("algo.learning_rate=lin_0.004")
    model = GruPPO.load(folder / "algorithm.zip", device="cpu")
    assert model.lr_schedule(0.5) == pytest.approx(0.002)


def test_more_rows_than_videos_make_one_update_an_epoch(train_policy):
    folder = train_policy("epochs=2", "batch_size=32")
    model = GruPPO.load(folder / "algorithm.zip", device="cpu")
    assert model.num_timesteps == 2 * 32 * 2


def test_training_episodes_may_be_shorter_than_the_clips_it_is_judged_on(
    train_policy, run_command, tiny, tmp_path
):
    folder = train_policy("policy_frames=1")
    assert GruPPO.load(folder / "algorithm.zip", device="cpu").num_decisions == 1
    given = [f"resume={folder}", f"output_dir={tmp_path / 'eval'}"]
    assert run_command("evaluate", *tiny, *given).code == 0
    (policy,) = json.loads((tmp_path / "eval" / "evaluate.json").read_text())["policies"]
    assert len(policy["top1_per_step"]) == 2


def test_the_policy_says_which_recognizer_it_was_trained_with(train_policy, pipeline):
    saved = load_policy(train_policy() / "policy")
    expected = load_policy(pipeline["stage2"] / "policy").recognizer_sha256
    assert saved.recognizer_sha256 == expected
    assert len(expected) == 64
