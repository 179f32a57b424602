"""`make closed-loop` at its smallest: from banks to table and figure, and given again."""

import json

import pytest

import closed_loop
from closed_loop_report import write_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tiny_videos, handed_on, tmp_path_factory):
    """Closed and open loops of two seeds on ten videos of two frames, and learned stopping."""
    sizes = "algo.preset=loop recipes.gru_ppo=null algo.policy_kwargs.head_dim=8 batch_size=10"
    task = closed_loop.Task(
        common=(
            *(f"data_dir={tiny_videos}", "device=cpu"),
            *("num_frames=2", "action_dim=16", "hidden_dim=16"),
        ),
        ways={"closed": (), "open": ("observation=glance",)},
        learning=(*sizes.split(), "epochs=1", "eval_freq=1"),
        baselines=("random", "greedy_oracle"),
        look_cost=0.1,
    )
    folder = tmp_path_factory.mktemp("study") / "tiny"
    return closed_loop.Study(task, folder, (0, 1), source=str(handed_on["stage1"]))


@pytest.fixture(scope="module")
def found(study):
    return study.measure()


def test_all_ways_and_seeds_are_judged_and_the_first_is_compared_with_the_others(found):
    rows = {policy["name"]: policy for policy in found["test"]["policies"]}
    assert list(rows) == ["closed", "open", "random", "greedy_oracle"]
    assert len(rows["closed"]["per_seed"]) == len(rows["open"]["over_seeds"]["top1"]["values"]) == 2
    assert {"open", "random"} <= rows["closed"]["differences"].keys()
    stopping = [policy["name"] for policy in found["stopping"]["policies"]]
    assert stopping == ["stop", "closed", f"until:{found['threshold']['belief']:g}:closed"]
    assert stopping[2] in found["stopping"]["policies"][0]["differences"]


def test_the_table_has_a_line_for_each_policy_and_there_is_a_figure(found, tmp_path):
    write_results({"tiny": found}, tmp_path)
    table = (tmp_path / "table.md").read_text().splitlines()
    assert [line.split(" | ")[1] for line in table[2:6]] == [
        *("`closed`", "`open`", "`random`", "`greedy_oracle`"),
    ]
    assert "Learned less threshold: log-likelihood" in table[-1]
    assert (tmp_path / "closed_loop.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "results.json").read_text())["tiny"]["seeds"] == [0, 1]


def test_what_is_done_is_not_done_again_and_other_settings_are_refused(study, found, monkeypatch):
    monkeypatch.setattr(closed_loop.subprocess, "run", None)
    assert study.measure()["cpu_seconds"] == found["cpu_seconds"]
    study.changes = ("algo.gamma=0.5",)
    with pytest.raises(SystemExit, match="was made by other settings"):
        study.measure()
