"""Stage 2: when it evaluates, which policy it keeps, and what its settings reach."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from adafocus_env.networks import Recognizer
from agents.evaluation import evaluate_agent
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.policy_files import load_policy
from train.stages.policy import keep_best

pytestmark = pytest.mark.slow


@pytest.fixture
def train_policy(run_tiny, handed_on, tmp_path):
    """Runs stage 2 on a recognizer of random weights; gives its run folder."""

    def run(*overrides):
        folder = tmp_path / "stage2"
        run_tiny("stage2", folder, f"resume={handed_on['stage1']}", *overrides)
        return folder

    return run


def _evaluations(folder):
    """Epoch -> return on the validation split, from the log."""
    pattern = r"epoch (\d+)/\d+: val return (-?\d+\.\d+)"
    found = re.findall(pattern, (folder / "stage2.log").read_text())
    return {int(epoch): float(value) for epoch, value in found}


def _model(folder):
    return GruPPO.load(folder / "algorithm.zip", device="cpu")


@pytest.mark.parametrize(
    ("epochs", "eval_freq", "evaluated"), [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (2, 5, [2])]
)
def test_the_policy_is_judged_every_few_epochs_and_at_the_end(
    train_policy, epochs, eval_freq, evaluated
):
    folder = train_policy(f"epochs={epochs}", f"eval_freq={eval_freq}")
    assert list(_evaluations(folder)) == evaluated
    assert _model(folder).num_timesteps == epochs * 20 * 2  # 20 videos of two frames an epoch


def test_the_first_policy_of_the_highest_return_is_kept(train_policy, monkeypatch):
    returns, seen = [0.1, 0.9, 0.9, 0.2], []

    def scripted(env, policy, **_):
        result = evaluate_agent(env, policy)
        seen.append(policy.actor.score.weight.detach().clone())
        rewards = np.full_like(result.rewards, returns[len(seen) - 1] / result.rewards.shape[1])
        return replace(result, rewards=rewards)

    monkeypatch.setattr(keep_best, "evaluate_agent", scripted)
    folder = train_policy("epochs=4")
    assert torch.equal(load_policy(folder / "policy").policy.actor.score.weight, seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert list(_evaluations(folder).values()) == pytest.approx(returns)


def test_the_kept_policy_has_the_return_in_the_log_and_names_its_recognizer(
    train_policy, judge, handed_on, tmp_path
):
    folder = train_policy("epochs=2", "reward=expected")
    policy = judge(tmp_path / "e", f"resume={folder}", "split=val", "reward=expected")
    best = max(_evaluations(folder).values())
    assert policy["return_mean"] == pytest.approx(best, abs=1e-4)
    recognizer = Recognizer.load(handed_on["stage1"] / "recognizer")
    assert load_policy(folder / "policy").recognizer_sha256 == recognizer.fingerprint()


def test_settings_of_the_algorithm_reach_it(train_policy):
    overrides = ["algo.gamma=0.3", "algo.n_epochs=2", "algo.preset=paper", "seed=7"]
    # More rows than videos make one update an epoch.
    overrides += ["algo.learning_rate=lin_0.004", "epochs=2", "batch_size=32"]
    model = _model(train_policy(*overrides))
    assert (model.gamma, model.n_epochs, model.seed) == (0.3, 2, 7)
    assert model.policy.arguments()["clamp_probs"]
    assert model.policy.hidden_dim == 16
    assert model.lr_schedule(0.5) == pytest.approx(0.002)
    assert model.num_timesteps == 2 * 32 * 2


def test_training_episodes_may_be_shorter_than_the_clips_it_is_judged_on(
    train_policy, judge, tmp_path
):
    folder = train_policy("policy_frames=1")
    assert _model(folder).num_decisions == 1
    assert len(judge(tmp_path / "e", f"resume={folder}")["top1_per_step"]) == 2
