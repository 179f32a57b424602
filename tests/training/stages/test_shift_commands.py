"""Commands over a recognizer of the Something-Something family."""

import json

import pytest

from adafocus_env.data.glyphs.drawing import CLASS_NAMES

SIZES = ["family=temporal_shift", "hidden_dim=null", "num_frames=4", "num_glance_frames=4"]
SIZES += ["video_div=2", "temporal_shift=true", "policy_frames=null"]


@pytest.fixture(scope="module")
def run_folder(make_shift_recognizer, tmp_path_factory):
    """A run folder with a recognizer of random weights that fits the tiny videos."""
    folder = tmp_path_factory.mktemp("run")
    frames = {"num_frames": 4, "num_glance_frames": 4, "video_div": 2}
    sizes = {"frame_size": 112, "patch_size": 32, "class_names": CLASS_NAMES}
    make_shift_recognizer(**frames, **sizes).save(folder / "recognizer")
    return folder


@pytest.fixture(scope="module")
def run(run_command, tiny):
    """Runs a command with small sizes; it must succeed."""

    def go(command, out, *overrides):
        done = run_command(command, *tiny, *SIZES, f"output_dir={out}", *overrides)
        assert done.code == 0, done.err
        return done

    return go


@pytest.fixture(scope="module")
def stage2(run, run_folder, tmp_path_factory):
    """A run of stage 2."""
    folder = tmp_path_factory.mktemp("stage2") / "run"
    run("stage2", folder, f"resume={run_folder}")
    return folder


def test_a_policy_is_trained_and_judged(run, stage2, tmp_path):
    policy = json.loads((stage2 / "policy" / "policy.json").read_text())
    assert "96" in json.dumps(policy)  # 2 glances of 48 channels
    run("evaluate", tmp_path, f"resume={stage2}", "reward=random")
    (judged,) = json.loads((tmp_path / "evaluate.json").read_text())["policies"]
    assert judged["name"] == "learned"
    assert len(judged["top1_per_step"]) == 2
    assert 0.0 <= judged["on_target"] <= 1.0
    assert judged["gmacs_by_part"].keys() == {"glancer", "policy", "focuser", "classifier"}


def test_every_kind_of_policy_is_compared(run, stage2, tmp_path):
    names = ["random", "center", "sweep", "saliency", "learned", "greedy_oracle", "beam_oracle:2"]
    run("benchmark", tmp_path, f"resume={stage2}", f"policies=[{','.join(names)}]", "draws=1")
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert [policy["name"] for policy in result["policies"]] == names
    assert result["num_frames"] == 2  # decisions
    assert (tmp_path / "policies.mp4").is_file()
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 * 12  # the middle frame of every decision


def test_a_bank_takes_the_networks_place(run, stage2, tmp_path):
    run("bank", tmp_path / "made", f"resume={stage2}", "split=test", f"target={tmp_path / 'bank'}")
    shared = [f"resume={stage2}", "reward=random", "baseline_positions=grid"]
    run("evaluate", tmp_path / "live", *shared)
    run("evaluate", tmp_path / "banked", *shared, f"features=bank:{tmp_path / 'bank'}")
    live, banked = (
        json.loads((tmp_path / name / "evaluate.json").read_text())["policies"][0]
        for name in ("live", "banked")
    )
    assert banked["reward_mean"] == pytest.approx(live["reward_mean"], abs=1e-3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "the configuration is for family=recurrent, but the checkpoint is of family=temporal"),
        ([*SIZES, "temporal_shift=false"], "temporal_shift=False (checkpoint: True)"),
    ],
    ids=["family", "shift"],
)
def test_configurations_of_other_networks_are_refused(
    run_command, tiny, run_folder, tmp_path, overrides, message
):
    done = run_command(
        "stage2", *tiny, f"resume={run_folder}", f"output_dir={tmp_path}", *overrides
    )
    assert done.code == 1
    assert message in done.err
