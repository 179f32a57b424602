"""Ctrl-C, SIGTERM and SIGKILL: one line, and nobody is left."""

import signal

import pytest

from processes import Run

pytestmark = pytest.mark.slow

WITHIN = 5.0  # seconds that the end may take
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@pytest.fixture
def ended(tmp_path):
    """Starts a command, sends a signal at an event; checks code, line and processes."""

    def end(number, happened, *arguments, command, advice="run the same command again"):
        run = Run([command, *arguments], tmp_path, small=True)
        run.wait_until(lambda: happened(run))
        run.send(number)
        assert run.ended(WITHIN) == 128 + number
        assert run.left() == []
        if number in NAMES:
            line = f"adafocus {command}: ended by {NAMES[number]}; {advice}"
            assert run.err.startswith(line)
            assert run.err.count("\n") == 1, run.err
        return run

    return end


def test_an_import_is_ended(ended, shop, tmp_path):
    ended(
        signal.SIGINT,
        lambda run: run.has_loaded("libtorch"),
        *shop.stage("stage1", tmp_path / "run")[1:],
        command="stage1",
    )


def test_a_stage_says_how_it_goes_on_and_the_same_command_then_does(ended, shop, tmp_path):
    given = shop.stage("stage0", tmp_path / "run", epochs=1000)[1:]
    state, advice = tmp_path / "run" / "training_state.pt", "the same command with output_dir="
    ended(
        signal.SIGTERM,
        lambda run: state.is_file(),
        *given,
        command="stage0",
        advice=f"{advice}{tmp_path / 'run'} resume=auto goes on\n",
    )
    run = Run(["stage0", *given, "resume=auto"], tmp_path)
    before = state.stat().st_mtime_ns
    run.wait_until(lambda: state.stat().st_mtime_ns != before)
    run.send(signal.SIGKILL)
    assert run.ended() == 128 + signal.SIGKILL
    assert "continuing after epoch" in (tmp_path / "run" / "stage0.log").read_text()


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("bank", signal.SIGTERM),
        ("stage1", signal.SIGINT),
        ("stage2", signal.SIGINT),
        ("stage2", signal.SIGKILL),
    ],
    ids=str,
)
def test_processes_that_load_clips_end_with_the_command(ended, shop, tmp_path, number, command):
    if command == "bank":
        views = {"views": 500, "output_dir": tmp_path / "run", "num_workers": 2}
        given = shop.bank_of("train", tmp_path / "bank", **views)
    else:
        given = shop.stage(command, tmp_path / "run", epochs=1000, num_workers=2)
    advice = "" if command == "stage2" else "run the same command again"
    ended(
        number,
        lambda run: len(run.workers()) >= 2,
        *given[1:],
        command=command,
        advice=advice,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_sweeps_processes_end_with_it_and_it_makes_what_is_missing(ended, shop, tmp_path, number):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install '.[sweep]'")
    one = shop.stage("stage1", tmp_path / "sweep", epochs=3)[1:]
    given = [*one, "-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    jobs = tmp_path / "sweep"
    ended(
        number,
        lambda run: any(jobs.glob("*/training_state.pt")),
        *given,
        command="stage1",
        advice="the same command with output_dir=",
    )
    run = Run(["stage1", *given], tmp_path, small=True)
    assert run.ended() == 0, run.err
    assert len(list(jobs.glob("*/finished.json"))) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_parts_of_a_demo_that_run_side_by_side_end_with_it(ended, tmp_path, number):
    began = tmp_path / "outputs" / "demo" / "stage0_focuser" / "config.yaml"
    given = ["device=cpu", "num_frames=2", "batch_size=8", "epochs=1000"]
    ended(number, lambda run: began.is_file(), *given, command="demo")
