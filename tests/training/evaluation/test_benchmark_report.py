"""Tables, figures and CSV of a benchmark, from made-up numbers."""

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from agents.baselines.simple import RandomAgent
from agents.evaluation import evaluate_agent
from train.evaluation.policies import BlindFrames, PolicyEntry
from train.evaluation.report.figures import CAPTIONS, _accuracy_per_step, _families
from train.evaluation.report.tables import comparison_tables
from train.evaluation.report.text import write_csv, write_report


@pytest.fixture
def report(tmp_path, benchmark_result):
    """Writes a report of some policies; gives the Markdown and what was printed."""

    def write(*policies, brief=False, **result):
        printed = io.StringIO()
        console = Console(file=printed, width=80)
        write_report(benchmark_result(*policies, **result), tmp_path, console, brief=brief)
        for name in CAPTIONS:
            assert (tmp_path / name).stat().st_size > 1000
        return (tmp_path / "benchmark.md").read_text(), printed.getvalue()

    return write


def _cells(markdown, name):
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_every_number_of_a_policy_and_says_what_was_measured(report, policy_row):
    markdown, printed = report(policy_row("learned"))
    text = " ".join(_cells(markdown, "learned"))
    for number in (".0601", ".055", ".065", ".48", ".978", ".96", ".99", ".991", ".72", ".134"):
        assert number in text, number
    assert "learned" in printed
    markdown, _ = report(policy_row("random"))
    assert "500 videos of the split `test`, seed 3, recognizer `abababababab`" in markdown


@pytest.mark.parametrize(
    ("gmacs", "shown"), [(26.522, "26.522"), (10.5, "10.500"), (0.134, ".134")]
)
def test_multiply_adds_of_any_size_are_shown_as_they_are(report, policy_row, gmacs, shown):
    markdown, printed = report(policy_row("learned", gmacs_per_video=gmacs))
    assert _cells(markdown, "learned")[-1] == shown
    assert f" {shown}" in printed


def test_differences_stand_beside_those_they_are_to(benchmark_result, policy_row):
    differences = {
        "random": {"return": {"mean": 0.4, "ci95": [0.31, 0.52]}},
        "center": {"return": {"mean": -0.2, "ci95": [-0.33, -0.1]}},
    }
    table, *_ = comparison_tables(benchmark_result(policy_row("learned", differences=differences)))
    assert table.rows == [["learned", ".481", ".400", "[.31 .52]", "-.200", "[-.33 -.10]", ".12"]]


def test_a_brief_report_prints_results_alone_and_writes_all(report, policy_row):
    markdown, printed = report(policy_row("random"), brief=True)
    assert "Differences" in markdown
    assert "Differences" not in printed
    assert sum(line.split()[:1] == ["random"] for line in printed.splitlines()) == 1


def test_signs_certain_rates_and_unknown_targets_are_shown_as_they_are(report, policy_row):
    policy = policy_row("center", reward_mean=-0.0104, reward_ci95=[-0.02, 0.0], top1=1.0, map=0.0)
    markdown, _ = report(policy)
    cells = _cells(markdown, "center")
    assert cells[1] in ("-.0104", "-0.0104")
    assert "1.000" in cells
    assert any(cell in (".000", "0.000") for cell in cells)
    markdown, printed = report(policy_row("random", on_target=None))
    assert "?" in _cells(markdown, "random")
    assert "None" not in markdown + printed


def test_there_are_two_tables_where_a_policy_has_a_classifier_of_its_own(report, policy_row):
    common = policy_row("random", classifier="common")
    markdown, printed = report(policy_row("random"), policies_same_classifier=[common])
    both = ("## Each with its own stage-3 classifier", "## All with the same (stage-1) classifier")
    assert all(title in markdown for title in both)
    assert sum(line.split()[:1] == ["random"] for line in printed.splitlines()) == 4
    markdown, _ = report(common, policies_same_classifier=[common])
    assert "## Results" in markdown
    assert "same (stage-1)" not in markdown


def test_all_tables_fit_a_terminal_of_80_columns(report, policy_row):
    negative = {"reward_mean": -0.0104, "reward_ci95": [-0.012, -0.009], "gmacs_per_video": 53.213}
    _, printed = report(policy_row("greedy_oracle", **negative), policy_row("learned"))
    rows = [line for line in printed.splitlines() if line.split()[:1] == ["greedy_oracle"]]
    for text in ("-.0104", "-.012", "-.009", ".978", ".72", "53.213"):
        assert text in rows[0]
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines())
    point = {"top1": 0.912, "map": 0.9, "gmacs_per_video": 13.218}
    exits = {"confidence": [{**point, "budget": q} for q in (0.7, 1.0, 1.5)]}
    spread = {"values": [1, 2, 3], "mean": -0.3873, "mean_ci95": [-0.314, 0.46]}
    seeds = {"return_mean": {**spread, "iqm": -0.3873, "iqm_ci95": [-0.314, 0.46]}}
    names = [f"{field}{end}" for field in ("return_mean", "top1", "map") for end in ("", "_gap")]
    parts = {"over_seeds": seeds, "conditional_exit": exits, "train": dict.fromkeys(names, -0.123)}
    row = policy_row("gru_ppo[preset=paper]", learned=True, **parts)
    markdown, printed = report(row, policy_row("beam_oracle:16"))
    titles = "Differences,Diagnostics,Over seeds,On the training,Conditional exit"
    for title in titles.split(","):
        assert title in printed
        assert f"## {title}" in markdown
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines())
    assert "…" not in printed
    assert printed.count(".912 @ 13.218") == 3
    assert "-.3873" in printed


def test_in_60_columns_intervals_are_left_out_and_numbers_stay_whole(
    benchmark_result, policy_row, tmp_path
):
    printed = io.StringIO()
    result = benchmark_result(policy_row("greedy_oracle"))
    write_report(result, tmp_path, Console(file=printed, width=60), brief=True)
    assert all(len(line) <= 60 for line in printed.getvalue().splitlines())
    row = next(line.split() for line in printed.getvalue().splitlines() if "greedy" in line)
    assert row == ["greedy_oracle", ".0601", ".978", ".991", ".72", ".134"]
    assert "no room for 95 % of it, 95 %: the report has them" in printed.getvalue()


def test_a_collapse_of_a_learned_policy_is_warned_of(report, policy_row):
    habits = {**policy_row("")["diagnostics"], "collapsed": True, "top_position_share": 0.97}
    markdown, printed = report(policy_row("ppo", learned=True, diagnostics=habits), brief=True)
    for text in (markdown, " ".join(printed.split())):
        assert "ppo has collapsed: 97% of its looks are at position 5" in text
    # The center has no choice.
    markdown, _ = report(policy_row("center", diagnostics=habits))
    assert "has collapsed:" not in markdown


def test_the_csv_has_a_line_for_each_video_and_draw(make_vector_env, tmp_path):
    env = make_vector_env(5, autoreset_mode="disabled")
    evaluation = evaluate_agent(env, RandomAgent(env.single_action_space), draws=2)
    write_csv({"random": evaluation, "=evil,name": evaluation}, tmp_path / "benchmark.csv")
    with (tmp_path / "benchmark.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5 * 2
    row = rows[3]
    assert (row["policy"], row["video"], row["draw"]) == ("random", "1", "1")
    assert float(row["return"]) == pytest.approx(evaluation.rewards[3].sum(), abs=1e-5)
    rewards = [float(reward) for reward in row["rewards"].split()]
    assert rewards == pytest.approx(evaluation.rewards[3].tolist(), abs=1e-5)
    assert [int(top) for top in row["tops"].split()] == evaluation.boxes[3, :, 0].tolist()
    assert row["correct"] == str(int(row["prediction"] == row["label"]))
    assert rows[10]["policy"] == "=evil,name"


def test_the_names_of_seven_policies_stand_below_a_figure_and_those_of_six_in_it(policy_row):
    rows = [policy_row(f"policy {i}") for i in range(7)]
    few, many = _accuracy_per_step(rows[:6]), _accuracy_per_step(rows)
    assert (len(few.legends), len(many.legends)) == (0, 1)
    assert many.get_figheight() == pytest.approx(few.get_figheight() + 7 * 0.2)


def test_one_line_of_the_figure_joins_what_differs_in_the_frames_kept_alone(policy_row):
    plus = [PolicyEntry("plus", ("run",), skip_cost=cost) for cost in (0.05, 0.1)]
    blind = [
        replace(entry, frames=BlindFrames("random_skip", amount))
        for entry, amount in zip(plus, ("plus@0.05", 0.5), strict=True)
    ]
    entries = [PolicyEntry("plain", ("run",)), *plus, PolicyEntry("greedy_oracle"), *blind]
    rows = [policy_row(e.name, family=e.family, knows_label=e.knows_label) for e in entries]
    families = {name: [row["name"] for row in members] for name, members in _families(rows).items()}
    assert families == {
        "plain": ["plain"],
        "plus": ["plus@0.05", "plus@0.1"],
        "random_skip:plus": ["random_skip:plus@0.05:plus@0.05", "random_skip:0.5:plus@0.1"],
    }
