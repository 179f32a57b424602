"""`adafocus benchmark` on a sweep of two seeds: numbers, files, independence of the batch."""

import csv
import json

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sweep(run_command, tiny, handed_on, tmp_path_factory):
    """Stage 2 with seeds 0 and 1, as Hydra's multirun leaves it."""
    folder = tmp_path_factory.mktemp("sweep")
    given = [f"resume={handed_on['stage1']}", "seed=0,1", f"hydra.sweep.dir={folder}"]
    run_command("stage2", *tiny, *given, "--multirun")
    return folder


@pytest.fixture(scope="module")
def benchmark(run_tiny, sweep, tmp_path_factory):
    """The sweep against baselines, with everything switched on; its folder and what it printed."""
    folder = tmp_path_factory.mktemp("benchmark")
    policies = "random,center,saliency,sweep,random_offsets,beam_oracle:2,greedy_oracle,learned"
    everything = ["train_gap=true", "conditional_exit=true", "player_videos=[3,7]"]
    given = [f"runs={sweep}", f"policies=[{policies}]", *everything]
    return folder, run_tiny("benchmark", folder, *given).out


@pytest.fixture(scope="module")
def rows(benchmark):
    """The policies of `benchmark.json` by name."""
    result = json.loads((benchmark[0] / "benchmark.json").read_text())
    return {policy["name"]: policy for policy in result["policies"]}


def test_the_seeds_of_a_sweep_are_one_policy_and_rewards_per_frame_add_up(rows, sweep):
    assert list(rows)[-1] == "gru_ppo"
    learned = rows["gru_ppo"]
    assert learned["checkpoints"] == [str(sweep / "0"), str(sweep / "1")]
    assert learned["learned"]
    for field in ("return_mean", "top1", "map"):
        found = learned["over_seeds"][field]
        assert len(found["values"]) == 2
        assert found["mean"] == pytest.approx(np.mean(found["values"]))
        assert learned[field] == pytest.approx(found["mean"])
    assert rows["center"]["over_seeds"] is None
    for row in rows.values():
        assert sum(row["reward_per_step"]) == pytest.approx(row["return_mean"])
        assert len(row["map_per_step"]) == len(row["top5_per_step"]) == 2
        low, high = row["return_ci95"]
        assert low <= row["return_mean"] <= high


def test_differences_and_regret_are_those_of_the_means(rows):
    returns = {name: row["return_mean"] for name, row in rows.items()}
    for name, row in rows.items():
        assert row["differences"].keys() == {"random", "center"} - {name}
        for reference, found in row["differences"].items():
            expected = returns[name] - returns[reference]
            assert found["return"]["mean"] == pytest.approx(expected)
        if name != "greedy_oracle":
            expected = returns["greedy_oracle"] - returns[name]
            assert row["regret"]["mean"] == pytest.approx(expected)
    assert rows["greedy_oracle"]["regret"] is None
    assert rows["gru_ppo"]["regret"]["mean"] > 0


def test_what_is_executed_is_what_is_counted_and_the_rewards_patches(rows, judge, sweep, tmp_path):
    parts = judge(tmp_path, f"resume={sweep / '0'}")["gmacs_by_part"]
    # The reward baseline's patch: a focuser and a classifier step more.
    extra = parts["focuser"] + parts["classifier"]
    for name in ("random", "center", "saliency", "gru_ppo"):
        row = rows[name]
        assert row["gmacs_executed_per_video"] == pytest.approx(row["gmacs_per_video"] + extra)
    assert rows["center"]["gmacs_per_video"] == pytest.approx(parts["glancer"] + extra)
    assert rows["center"]["gmacs_per_video"] < rows["saliency"]["gmacs_per_video"]
    oracle = rows["greedy_oracle"]
    # It also takes the steps that it has decided on, twice, and the reward's.
    assert oracle["gmacs_executed_per_video"] > oracle["gmacs_per_video"]


def test_the_gap_is_that_to_the_training_split(rows, judge, sweep, tmp_path):
    given = [f"resume={sweep / '0'}", "policy=center", "split=train", "reward=random"]
    expected, row = judge(tmp_path, *given), rows["center"]
    for field in ("return_mean", "top1", "map"):
        assert row["train"][field] == pytest.approx(expected[field], abs=1e-6)
        assert row["train"][f"{field}_gap"] == pytest.approx(expected[field] - row[field])
    assert rows["greedy_oracle"]["train"] is None


def test_exits_of_every_policy_but_the_oracles_form_curves(rows):
    for name, row in rows.items():
        if "oracle" in name:
            assert row["conditional_exit"] is None
            continue
        for points in row["conditional_exit"].values():
            assert len(points) == 35
            for point in points:
                assert sum(point["exit_shares"]) == pytest.approx(1.0)
                spent = row["gmacs_per_video"] * point["mean_frames"] / 2
                assert point["gmacs_per_video"] == pytest.approx(spent)
                assert 0.0 <= point["top1"] <= 1.0
                # With all at one end it is the accuracy there.
                if point["exit_shares"] == [0.0, 1.0]:
                    assert point["top1"] == pytest.approx(row["top1"])


def test_the_csv_has_every_video_of_every_policy_draw_and_checkpoint(benchmark, rows):
    with (benchmark[0] / "benchmark.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    counts = {name: sum(line["policy"] == name for line in lines) for name in rows}
    assert (counts["random"], counts["random_offsets"]) == (24, 24)  # two draws of 12 videos
    assert (counts["gru_ppo"], counts["center"]) == (24, 12)
    for name, row in rows.items():
        returns = [float(line["return"]) for line in lines if line["policy"] == name]
        assert np.mean(returns) == pytest.approx(row["return_mean"], abs=1e-5)
        correct = [int(line["correct"]) for line in lines if line["policy"] == name]
        assert np.mean(correct) == pytest.approx(row["top1"])


def test_all_files_are_there_and_what_is_printed_fits(benchmark):
    folder, out = benchmark
    for name in ("report.html", "benchmark.md", "locations.png", "accuracy_per_macs.png"):
        assert (folder / name).stat().st_size > 1000
    tables = [line for line in out.splitlines() if str(folder) not in line]
    assert max(len(line.rstrip()) for line in tables) <= 80
    titles = "Over seeds,On the training split,Conditional exit,Diagnostics and cost"
    for title in titles.split(","):
        assert any(line.startswith(title) for line in tables), title


def test_results_depend_neither_on_the_batch_nor_on_the_workers(
    run_tiny, sweep, rows, assert_equal, tmp_path
):
    policies = "policies=[random,center,saliency,random_offsets,beam_oracle:2,learned]"
    run_tiny("benchmark", tmp_path, f"runs={sweep}", policies, "batch_size=1", "num_workers=2")
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert len(result["policies"]) == 6
    left_out = {"seconds", "videos_per_second", "train", "conditional_exit", "regret"}
    for row in result["policies"]:
        for name in row.keys() - left_out:
            assert_equal(row[name], rows[row["name"]][name])


def test_what_is_not_there_is_refused(refused, sweep):
    said = refused("benchmark", f"runs={sweep}", "player_videos=[12]")
    assert "player_videos=[12]: name some of 0..11" in said
    said = refused("benchmark", f"runs={sweep}", "policies=[center,fixed:16]")
    assert "fixed:16 is not in fixed:0..fixed:15" in said
