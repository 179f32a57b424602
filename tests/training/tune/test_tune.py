"""`adafocus tune`: trials, early endings, interruption, and what it says in the end."""

import json
import shlex
import sys

import pytest

from agents.sb3.registry import ALGORITHMS, algorithm_arguments
from train.config.keys import ConfigError
from train.config.learning import AlgoConfig
from train.tune.space import SPACES, Choice, LogRange, search_space, with_parameters

optuna = pytest.importorskip("optuna", reason="optuna is not installed (pip install '.[tune]')")

from train.tune import search as tune  # noqa: E402


@pytest.fixture
def search(run_tiny, handed_on, tmp_path):
    """Runs the command on the recognizer of `handed_on`, in `tmp_path / "tune"`."""

    def run(*overrides, code=0):
        resume = f"resume={handed_on['stage1']}"
        return run_tiny("tune", tmp_path / "tune", resume, *overrides, code=code)

    return run


@pytest.fixture
def result(tmp_path):
    """Reads `tune.json`."""
    return lambda: json.loads((tmp_path / "tune" / "tune.json").read_text())


@pytest.fixture
def scripted(monkeypatch):
    """Replaces training: the returns of each trial's evaluations, by its folder; gives the runs."""

    def script(scores):
        runs = []

        def train(config, *_, on_evaluation):
            runs.append(config)
            returns = scores[config.output_dir.name]
            for epoch, value in enumerate(returns, start=1):
                on_evaluation(epoch, value)
            return max(returns)

        monkeypatch.setattr(tune, "run_stage2", train)
        return runs

    return script


def test_an_interrupted_search_makes_only_what_is_missing_and_its_command_line_trains(
    search, result, run_command, monkeypatch, tmp_path
):
    begun = []
    train = tune.run_stage2

    def counted(config, *rest, on_evaluation):
        begun.append(config.output_dir.name)

        def cut(epoch, value):
            on_evaluation(epoch, value)
            if len(begun) == 2:
                raise KeyboardInterrupt

        return train(config, *rest, on_evaluation=cut)

    monkeypatch.setattr(tune, "run_stage2", counted)
    given = ["trials=2", "epochs=2", "algo.gamma=0.5"]
    with pytest.raises(KeyboardInterrupt):
        search(*given)
    first = result()
    assert [trial["folder"] for trial in first["trials"]] == ["trial_000"]
    done = search(*given)
    assert begun == ["trial_000", "trial_001", "trial_001"]
    assert "continuing after epoch 1 of 2" in (tmp_path / "tune" / "tune.log").read_text()
    end = result()
    assert end["trials"][0] == first["trials"][0]
    assert [trial["folder"] for trial in end["trials"]] == ["trial_000", "trial_001"]
    assert end["trials"][1]["returns"].keys() == {"1", "2"}
    assert end["best"]["return"] == max(trial["return"] for trial in end["trials"])
    files = sorted(file.name for file in (tmp_path / "tune" / "trial_001").iterdir())
    assert files == ["config.yaml", "finished.json", "policy", "tensorboard", "validation.json"]
    # The best trial's command line is the table's last words, and trains the same again.
    command = done.out.split("the best trial's settings:\n")[1].splitlines()[0]
    assert command == end["command"]
    words = shlex.split(command)
    assert words[:2] == ["adafocus", "stage2"]
    assert "algo.gamma=0.5" in words
    assert "gamma" not in end["best"]["parameters"]
    run_command(*words[1:], f"output_dir={tmp_path / 'again'}")
    best = tmp_path / "tune" / end["best"]["folder"] / "policy" / "policy.safetensors"
    assert (tmp_path / "again/policy/policy.safetensors").read_bytes() == best.read_bytes()


def test_a_journal_that_was_cut_loses_the_cut_trial_alone_and_other_damage_is_told(
    search, result, scripted, tmp_path
):
    runs = scripted({f"trial_{number:03d}": [0.1 * number] for number in range(4)})
    given = ["epochs=1", "algo.gamma=0.5"]
    search("trials=3", *given)
    first, journal = result()["trials"], tmp_path / "tune" / "tune.journal"
    journal.with_name("tune.journal.lock").symlink_to(journal)  # of a killed process
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])  # within the line that says how the third one ended
    search("trials=3", *given)
    assert [run.output_dir.name for run in runs[3:]] == ["trial_002"]
    assert result()["trials"][:2] == first[:2]
    search("trials=4", *given)
    lines = journal.read_bytes().splitlines(keepends=True)
    for number, line in ((2, b"{half\n"), (1, b"[]\n"), (3, b'{"op_code": 4}\n')):
        journal.write_bytes(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        done = search("trials=5", *given, code=1)
        assert done.err.startswith(f"adafocus tune: {journal} is damaged (")
        assert done.err.count("\n") == 1


def test_a_trial_worse_than_the_median_of_earlier_ones_is_ended_and_recorded(
    search, result, scripted, monkeypatch
):
    median = optuna.pruners.MedianPruner(n_startup_trials=2)
    monkeypatch.setattr(tune, "_pruner", lambda *_: median)
    scripted(
        {
            "trial_000": [0.3, 0.4, 0.5],
            "trial_001": [0.5, 0.6, 0.55],
            "trial_002": [0.45, 0.1, 0.9],  # below the median of .4 and .6 at the second epoch
            "trial_003": [0.45, 0.6, 0.7],
        }
    )
    assert "pruned" in search("trials=4", "epochs=3").out
    rows = [(row["pruned"], row["return"], row["epochs"]) for row in result()["trials"]]
    assert rows == [(False, 0.5, 3), (False, 0.6, 3), (True, 0.45, 2), (False, 0.7, 3)]
    assert result()["best"]["folder"] == "trial_003"


def test_a_diverged_trial_is_recorded_and_the_search_goes_on(search, result, monkeypatch):
    def train(config, *_, on_evaluation):
        if config.output_dir.name == "trial_000":
            raise FloatingPointError("the loss became nan")
        return 0.25

    monkeypatch.setattr(tune, "run_stage2", train)
    search("trials=2")
    first, second = result()["trials"]
    assert (first["pruned"], first["error"]) == (True, "the loss became nan")
    assert first["return"] is None
    assert (second["pruned"], second["return"]) == (False, 0.25)


def test_more_trials_of_the_same_search_are_added_and_drawn_as_in_one_go(
    search, scripted, tmp_path
):
    runs = scripted({f"trial_00{number}": [number / 10] for number in range(4)})
    for trials in (1, 3, 3):
        search(f"trials={trials}")
    assert len(runs) == 3
    in_parts = [run.algo.arguments for run in runs]
    runs.clear()
    for file in (tmp_path / "tune").glob("tune.*"):
        file.unlink()
    search("trials=3")
    assert [run.algo.arguments for run in runs] == in_parts
    assert in_parts[0] != in_parts[1]


def test_another_search_does_not_go_on_in_the_folder(search, scripted):
    scripted({"trial_000": [0.1]})
    search("trials=1")
    for other, said in (
        ("epochs=7", "epochs: 1 there, 7 here"),
        ("resume=elsewhere", "there, elsewhere here"),
        ("search={gamma: [0.5]}", "search.gamma: None there, [0.5] here"),
    ):
        done = search("trials=1", other, code=1)
        assert "holds another search" in done.err
        assert said in done.err


def test_values_of_ones_own_are_tried_and_an_error_of_a_trial_is_the_commands(
    search, scripted, monkeypatch, tmp_path
):
    runs = scripted({"trial_000": [0.1]})
    only = "search={gamma: [0.25], learning_rate: null, n_epochs: null, ent_coef: null}"
    search("trials=1", only, "algo.batch_episodes=10")
    assert runs[0].algo.arguments["gamma"] == 0.25
    assert "ent_coef" not in runs[0].algo.arguments
    other = ("trials=1", "search={gama: [0.5]}", f"output_dir={tmp_path / 'other'}")
    assert "did you mean 'gamma'" in search(*other, code=1).err
    monkeypatch.setitem(sys.modules, "optuna", None)
    new = ("trials=1", f"output_dir={tmp_path / 'new'}")
    assert search(*new, code=1).err == (
        "adafocus tune: it needs Optuna, which is not installed: pip install 'adafocus-env[tune]'\n"
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_parameters_that_it_takes(make_config, name):
    if name in ("recurrent_ppo", "trpo", "qrdqn"):
        pytest.importorskip("sb3_contrib")
    algo = make_config("stage2", f"algo={name}").algo
    for which in (0, -1):
        chosen = {
            key: item.values[which] if isinstance(item, Choice) else (item.low, item.high)[which]
            for key, item in SPACES[name].items()
        }
        arguments = with_parameters(algo.arguments, chosen)
        algorithm_arguments(name, algo.preset, arguments, num_decisions=2)
    assert {"learning_rate", "gamma"} <= SPACES[name].keys()


def test_a_range_gives_numbers_of_three_digits_that_may_fall():
    trial = optuna.trial.FixedTrial({"x": 0.00123456})
    assert LogRange(1e-4, 1e-2).suggest(trial, "x") == 0.00123
    assert LogRange(1e-4, 1e-2, falling=True).suggest(trial, "x") == "lin_0.00123"


def test_a_dotted_name_goes_into_the_mapping_and_changes_nothing_else():
    given = {"gamma": 0.5, "policy_kwargs": {"net_arch": [8], "n_quantiles": 25}}
    merged = with_parameters(given, {"policy_kwargs.n_quantiles": 10, "learning_rate": 1.0})
    kwargs = {"net_arch": [8], "n_quantiles": 10}
    assert merged == {"gamma": 0.5, "learning_rate": 1.0, "policy_kwargs": kwargs}
    assert given["policy_kwargs"] == {"net_arch": [8], "n_quantiles": 25}


def test_the_spatial_head_has_parameters_of_its_own():
    for arguments in ({"policy_kwargs": {"head": "spatial"}}, {"policy": "SpatialPolicy"}):
        added = search_space(AlgoConfig("ppo", None, arguments), [], None).keys() - SPACES["ppo"]
        assert added == {f"policy_kwargs.{n}" for n in ("head_dim", "head_kernel", "dropout")}


def test_a_class_of_ones_own_needs_values_of_ones_own():
    own = AlgoConfig("ppo", None, {}, "my_package.MyPPO")
    with pytest.raises(ConfigError, match="nothing to search for algo=ppo"):
        search_space(own, [], None)
    assert search_space(own, [], {"gamma": [0.0, 0.5]}) == {"gamma": Choice((0.0, 0.5))}
    for wrong in ([], 0.5, [[1]], {"low": 1}):
        with pytest.raises(ConfigError, match="must be a list of values"):
            search_space(own, [], {"gamma": wrong})
