"""Commands over a recognizer of the Something-Something family, of random weights."""

import json

import pytest

from adafocus_env.data.glyphs.drawing import CLASS_NAMES

pytestmark = pytest.mark.slow

SIZES = ["family=temporal_shift", "hidden_dim=null", "num_frames=4", "num_glance_frames=4"]
SIZES += ["video_div=2", "temporal_shift=true"]


@pytest.fixture(scope="module")
def run_folder(make_shift_recognizer, tmp_path_factory):
    """A run folder with a recognizer that fits the tiny videos."""
    folder = tmp_path_factory.mktemp("run")
    frames = {"num_frames": 4, "num_glance_frames": 4, "video_div": 2}
    sizes = {"frame_size": 112, "patch_size": 32, "class_names": CLASS_NAMES}
    make_shift_recognizer(**frames, **sizes).save(folder / "recognizer")
    return folder


@pytest.fixture(scope="module")
def stage2(run_tiny, run_folder, tmp_path_factory):
    """A run of stage 2."""
    folder = tmp_path_factory.mktemp("stage2") / "run"
    run_tiny("stage2", folder, *SIZES, "policy_frames=null", f"resume={run_folder}")
    return folder


def test_every_kind_of_policy_is_compared(run_tiny, stage2, tmp_path):
    policy = json.loads((stage2 / "policy" / "policy.json").read_text())
    assert "96" in json.dumps(policy)  # 2 glances of 48 channels
    names = ["random", "center", "sweep", "saliency", "learned", "greedy_oracle", "beam_oracle:2"]
    given = [f"resume={stage2}", f"policies=[{','.join(names)}]", "draws=1"]
    run_tiny("benchmark", tmp_path, *SIZES, *given)
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert [policy["name"] for policy in result["policies"]] == names
    assert result["num_frames"] == 2  # decisions
    assert (tmp_path / "policies.mp4").is_file()
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 * 12  # the middle frame of every decision


def test_a_policy_is_judged_and_a_bank_takes_the_networks_place(run_tiny, judge, stage2, tmp_path):
    bank = tmp_path / "bank"
    given = [f"resume={stage2}", "split=test", f"target={bank}", "policy_frames=null"]
    run_tiny("bank", tmp_path, *SIZES, *given)
    shared = [*SIZES, f"resume={stage2}", "reward=random", "baseline_positions=grid"]
    live = judge(tmp_path / "live", *shared)
    assert live["name"] == "learned"
    assert len(live["top1_per_step"]) == 2
    assert 0.0 <= live["on_target"] <= 1.0
    assert live["gmacs_by_part"].keys() == {"glancer", "policy", "focuser", "classifier"}
    banked = judge(tmp_path / "banked", *shared, f"features=bank:{bank}")
    assert banked["reward_mean"] == pytest.approx(live["reward_mean"], abs=1e-3)


def test_a_bank_has_the_configured_divisions(run_tiny, run_folder, tmp_path):
    given = [*SIZES, "video_div=1", f"resume={run_folder}", "split=test"]  # saved with two
    out = run_tiny("bank", tmp_path / "run", *given, f"target={tmp_path / 'bank'}").out
    assert " x 1 frames x (192 x 7 x 7 + 192 + " in out


def test_a_recording_has_the_configured_divisions(run_tiny, run_folder, tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        "train.evaluation.record.write_recording",
        lambda target, videos, chosen, panels, **how: shown.update(panels),
    )
    given = [*SIZES, "video_div=1", f"resume={run_folder}"]  # saved with two
    run_tiny("record", tmp_path, *given, "policies=[center]", "videos=3")
    assert shown["center"].boxes.shape == (3, 1, 4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "the configuration is for family=recurrent, but the checkpoint is of family=temporal"),
        ([*SIZES, "temporal_shift=false"], "temporal_shift=False (checkpoint: True)"),
    ],
    ids=["family", "shift"],
)
def test_configurations_of_other_networks_are_refused(refused, run_folder, overrides, message):
    assert message in refused("stage2", f"resume={run_folder}", *overrides)
