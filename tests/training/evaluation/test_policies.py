"""Which policies a benchmark compares: names, run folders, sweeps."""

from dataclasses import replace

import pytest
import yaml

from train.evaluation.policies import (
    BlindFrames,
    PolicyEntry,
    read_entries,
    recognizer_source,
)
from train.evaluation.policy_runs import group_runs
from train.evaluation.results import compared_with


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Makes the shell of a finished stage-2 run, whose networks are taken for readable."""
    for name in ("load_policy", "load_recognizer"):
        monkeypatch.setattr(f"train.evaluation.policy_runs.{name}", lambda _: None)

    def make(name, **config):
        folder = tmp_path / name
        (folder / "policy").mkdir(parents=True)
        (folder / "recognizer").mkdir()
        values = {"command": "stage2", "algo": {"name": "gru_ppo", "preset": "demo"}, "seed": 0}
        (folder / "config.yaml").write_text(yaml.safe_dump({**values, **config}))
        return folder

    return make


def _entries(make_config, *overrides):
    return read_entries(make_config("benchmark", *overrides))


def test_the_default_names_baselines_and_the_policy_beside_the_recognizer(make_config):
    assert _entries(make_config, "resume=a") == [
        PolicyEntry("random"),
        PolicyEntry("center"),
        PolicyEntry("learned", ("a",)),
        PolicyEntry("greedy_oracle"),
    ]
    (entry,) = _entries(make_config, "resume=a", "policy=b", "policies=[learned]")
    assert entry.checkpoints == ("b",)


def test_a_name_given_twice_is_one_policy_of_two_seeds(make_config, make_run):
    one, other = make_run("one"), make_run("other")
    given = f"policies=[ppo:{one},fixed:24,ppo:{other}]"
    assert _entries(make_config, "resume=a", given) == [
        PolicyEntry("ppo", (str(one), str(other))),
        PolicyEntry("fixed:24"),
    ]


def test_the_runs_of_a_sweep_stand_where_learned_is_by_algorithm(make_config, make_run, tmp_path):
    ppo = {"name": "ppo", "preset": "default"}
    a, b = make_run("sweep/0", seed=0), make_run("sweep/1", seed=1)
    c = make_run("sweep/2", algo=ppo)
    make_run("sweep/stage3", command="stage3")  # holds a copy of a policy
    config = make_config("benchmark", f"runs={tmp_path / 'sweep'}", "policies=[learned,random]")
    entries = read_entries(config)
    assert entries == [
        PolicyEntry("gru_ppo", (str(a), str(b))),
        PolicyEntry("ppo", (str(c),)),
        PolicyEntry("random"),
    ]
    assert recognizer_source(config, entries) == str(a)
    without = make_config("benchmark", f"runs=[{a},{c}]", "policies=[random]")
    assert [entry.name for entry in read_entries(without)] == ["random", "gru_ppo", "ppo"]


def test_what_runs_of_an_algorithm_differ_in_is_in_their_names(make_run):
    rewards = {"0": "prev", "1": "prev", "2": "random"}
    runs = [make_run(name, reward=rewards[name], seed=int(name)) for name in rewards]
    assert group_runs(runs) == {
        "gru_ppo[reward=prev]": [str(runs[0]), str(runs[1])],
        "gru_ppo[reward=random]": [str(runs[2])],
    }


def test_an_unfinished_run_is_left_out_with_a_warning(make_config, make_run, tmp_path, caplog):
    done, cut = make_run("sweep/0"), make_run("sweep/1", seed=1)
    (cut / "training_state.pt").touch()
    (entry,) = _entries(make_config, f"runs={tmp_path / 'sweep'}", "policies=[learned]")
    assert entry.checkpoints == (str(done),)
    assert f"{cut} is not finished and left out; resume=auto continues it" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["policies=[centre]"], "did you mean center"),
        (["policies=[learnt]"], "did you mean learned"),
        (["policies=[a b:folder]"], "unknown policies"),
        (["policies=[ppo:]"], "NAME:RUN_FOLDER"),
        (["policies=[random:folder]"], "random takes nothing after its name"),
        (["policies=[center,random,center]"], "names center twice"),
        (["policies=[ppo:nowhere]"], "nowhere does not exist; name a run with a policy: 'adafocus"),
        (["runs=nowhere"], "nowhere does not exist; name a run with a policy"),
        (["runs=."], "no finished policy in [.]; 'adafocus stage2' makes one"),
        (["runs={learned: x}", "policies=[random]"], r"runs= names \['learned'\]"),
        (["resume=null", "policies=[learned]"],
         "learned in policies= needs resume=RUN_FOLDER .* or policy=RUN"),
        (["experiment=glyphs_search", "resume=shipped"],
         "without a policy; leave learned out of policies=, or give policy=RUN_FOLDER"),
        (["policy=center"], "policy=center: policy= says where learned is; names go into policies"),
        # Frames that are kept blindly.
        (["policies=[random_skip]"], r"random_skip:AMOUNT:POLICY, such as random_skip:0\.5:"),
        (["policies=['uniform_skip:3']"], "uniform_skip:AMOUNT:POLICY, such as uniform_skip:4:lea"),
        (["policies=['random_skip:0.5:plus']"], "needs the policy plus before it in policies="),
        (["policies=[random,'random_skip:plus:random']"], "needs the policy plus before it"),
        (["policies=['random_skip:0.5:random','uniform_skip:2:random_skip:0.5:random']"],
         "random_skip:0.5:random leaves out frames or looks itself; name the policy it is of"),
        # Until the belief is sure.
        (["policies=['until:0.9:plus']"], "until:0.9:plus needs the policy plus before it"),
        *(([f"policies=['until:{text}']"], "until:BELIEF:POLICY, BELIEF above 0 and up to 1")
          for text in ("0.9", "0:random", "1.5:random", "x:random", "0.9:", "-0.5:random")),
        (["policies=['until:0.5:random','until:0.9:until:0.5:random']"], "itself; name the policy"),
    ],
    ids=str,
)  # fmt: skip
def test_names_and_folders_that_are_none_are_refused(
    make_config, tmp_path, monkeypatch, given, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        _entries(make_config, "resume=a", *given)


def test_differences_are_taken_to_references_and_to_the_learned_policies_named_after_it():
    learned = {"gru_ppo": ("a", "b"), "ppo": ("c",), "dqn": ("d",)}
    names = ("random", "gru_ppo", "center", "ppo", "dqn")
    named = {name: PolicyEntry(name, learned.get(name, ())) for name in names}
    assert {name: compared_with(name, named) for name in named} == {
        "random": ["center"],
        "gru_ppo": ["random", "center", "ppo", "dqn"],
        "center": ["random"],
        "ppo": ["random", "center", "dqn"],
        "dqn": ["random", "center"],
    }


def test_until_ends_the_episodes_of_another_policy(make_config, make_run):
    run = make_run("one")
    given = f"policies=['one:{run}','until:0.90:one','until:0.9:center']"
    _, until, center = _entries(make_config, given)
    assert (until.name, until.family, until.until) == ("until:0.9:one", "until:one", 0.9)
    assert (until.checkpoints, until.is_learned, until.plays_all) == ((str(run),), False, False)
    assert (center.name, center.baseline.by_chance) == ("until:0.9:center", False)


def test_a_cost_is_told_to_every_policy_of_a_sweep_and_to_baseline_agents(make_config, make_run):
    folder = make_run("sweep/0").parent
    found = _entries(make_config, f"runs={folder}", "policies=['learned@0.05','center@0.5']")
    told = [(entry.name, entry.family, entry.skip_cost) for entry in found]
    assert told == [("gru_ppo@0.05", "gru_ppo", 0.05), ("center@0.5", "center", 0.5)]


def test_what_a_policy_is_asked_is_known_to_the_registry():
    random, oracle = PolicyEntry("random"), PolicyEntry("beam_oracle:2")
    assert (random.by_chance, random.knows_label) == (True, False)
    assert (oracle.by_chance, oracle.knows_label) == (False, True)
    learned = PolicyEntry("random", ("a", "b"))  # whatever it is called
    assert (learned.by_chance, learned.knows_label, learned.is_learned) == (False, False, True)
    for entry, by_chance in ((PolicyEntry("center"), True), (learned, False)):
        blind = replace(entry, frames=BlindFrames("random_skip", 0.5))
        assert (blind.by_chance, blind.is_learned) == (by_chance, False)
