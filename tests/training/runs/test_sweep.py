"""Sweeps: one folder of jobs, of which only what is missing is made again."""

import logging
import shutil

import pytest
import yaml

from train.evaluation.policy_runs import find_policies
from train.stages import stage2_policy
from train.stages.policy.keep_best import KeepBestPolicy

pytestmark = pytest.mark.slow

DQN = ["algo=dqn", "algo.policy_kwargs.net_arch=[8]", "algo.learning_starts=20"]
DQN += ["algo.batch_size=8", "seed=0", "epochs=2"]


@pytest.fixture
def runs(monkeypatch):
    """The seed and folder of each run of stage 2 that is begun."""
    begun = []
    train = stage2_policy.run_stage2

    def counted(config, *rest):
        begun.append((config.seed, config.output_dir.name))
        return train(config, *rest)

    monkeypatch.setattr(stage2_policy, "run_stage2", counted)
    return begun


@pytest.fixture
def sweep(run_tiny, handed_on, tmp_path):
    """Runs a sweep of stage 2 on the recognizer of `handed_on`, in `tmp_path / "sweep"`."""

    def run(*overrides, code=0):
        given = [f"resume={handed_on['stage1']}", "-m", *overrides]
        return run_tiny("stage2", tmp_path / "sweep", *given, code=code)

    return run


def _cut(seed, sweep, *overrides):
    """A sweep that ends, as by Ctrl-C, when this seed has done its first epoch."""
    end_epoch = KeepBestPolicy._end_epoch

    def end_and_cut(self, ended):
        end_epoch(self, ended)
        if ended == 1 and self._context.config.seed == seed:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeepBestPolicy, "_end_epoch", end_and_cut)
        with pytest.raises(KeyboardInterrupt):
            sweep(*overrides)


def test_an_interrupted_sweep_makes_only_what_is_missing(sweep, runs, tmp_path):
    folder = tmp_path / "sweep"
    _cut(1, sweep, "seed=0,1", "epochs=2")
    assert runs == [(0, "0"), (1, "1")]
    assert find_policies(folder) == [folder / "0"]
    runs.clear()
    # One more seed in front: the jobs have other numbers now, and their runs are found anyway.
    done = sweep("seed=2,0,1", "epochs=2")
    assert runs == [(2, "2"), (1, "1")]
    assert f"sweep in {folder}; the same command with output_dir={folder} makes only" in done.out
    assert f"is finished in {folder / '0'}: skipped" in done.out
    assert done.out.count(": skipped") == 1
    assert "continuing after epoch 1 of 2" in (folder / "1" / "stage2.log").read_text()
    runs.clear()
    assert sweep("seed=2,0,1", "epochs=2").out.count(": skipped") == 3
    assert runs == []
    shutil.rmtree(folder / "0")
    sweep("seed=0,1,2", "epochs=2")
    assert runs == [(0, "0")]
    assert find_policies(folder) == [folder / name for name in "012"]


def test_a_damaged_folder_is_left_out_and_the_others_go_on(sweep, runs, tmp_path, caplog):
    folder = tmp_path / "sweep"
    sweep("seed=0,1,2")
    (folder / "1" / "config.yaml").write_text("half: [")
    policy = folder / "2" / "policy" / "policy.json"
    policy.write_text(policy.read_text()[:-20])
    runs.clear()
    with caplog.at_level(logging.WARNING):
        done = sweep("seed=0,1,2")
        assert find_policies(folder) == [folder / "0", folder / "3"]
    assert done.out.count(": skipped") == 2
    assert runs == [(1, "3")]
    assert f"{folder / '1'} is left out: {folder / '1' / 'config.yaml'} is damaged" in caplog.text
    assert f"{folder / '2'} is left out: {policy} cannot be read as JSON" in caplog.text


def test_other_settings_are_other_runs_in_folders_of_their_own(sweep, runs, tmp_path):
    sweep("seed=0")
    for other in (["epochs=2"], ["algo.gamma=0.3"]):
        sweep("seed=0", *other)
    assert runs == [(0, "0"), (0, "1"), (0, "2")]
    saved = [yaml.safe_load((tmp_path / f"sweep/{name}/config.yaml").read_text()) for name in "012"]
    assert [config["epochs"] for config in saved] == [1, 2, 1]


def test_an_aborted_run_that_cannot_be_continued_begins_anew_in_its_folder(sweep, runs, tmp_path):
    folder = tmp_path / "sweep"
    _cut(0, sweep, *DQN)
    assert (folder / "0" / "policy").is_dir()
    (folder / "0" / "tensorboard" / "old").touch()
    with pytest.raises(ValueError, match="no finished policy"):
        find_policies(folder / "..")
    sweep(*DQN)
    assert runs == [(0, "0"), (0, "0")]
    assert not (folder / "0" / "tensorboard" / "old").exists()
    assert "begins anew" in (folder / "0" / "stage2.log").read_text()


def test_a_job_that_fails_does_not_keep_the_others_from_running(
    run_command, tiny, handed_on, runs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where no folder is given, the sweep makes one
    done = run_command("stage2", *tiny, "-m", f"resume={handed_on['stage1']}", "epochs=0,1", code=1)
    assert "epochs=0 must be at least 1" in done.err
    assert runs == [(0, "1")]
    (finished,) = tmp_path.rglob("finished.json")
    assert finished.parent.name == "1"


def test_a_folder_named_by_the_user_is_not_shared_by_runs_of_other_settings(sweep, runs):
    same = "hydra.sweep.subdir=mine"
    sweep("seed=0", same)
    assert ": skipped" in sweep("seed=0", same).out
    done = sweep("seed=1", same, code=1)
    assert "mine holds a finished run with other settings (seed: 0 there, 1 here)" in done.err
    same = "hydra.sweep.subdir=cut"
    _cut(1, sweep, "seed=1", "epochs=2", same)
    done = sweep("seed=3", same, code=1)
    assert "unfinished run with other settings (epochs: 2 there, 1 here; seed: " in done.err
    assert runs == [(0, "mine"), (1, "cut")]
