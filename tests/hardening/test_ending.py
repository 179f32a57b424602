"""Ctrl-C, SIGTERM and SIGKILL: one line, and nobody is left."""

import os
import pty
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


@pytest.mark.parametrize("number", NAMES, ids=NAMES.get)
def test_an_import_is_ended(ended, shop, tmp_path, number):
    ended(
        number,
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


@pytest.mark.parametrize("number", [*NAMES, signal.SIGKILL], ids=str)
@pytest.mark.parametrize("command", ["bank", "stage1", "stage2"])
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


@pytest.mark.parametrize("number", NAMES, ids=NAMES.get)
def test_a_pool_of_workers_ends_with_the_command_while_they_still_import(
    ended, shop, tmp_path, number
):
    ended(
        number,
        lambda run: len(run.workers()) >= 2,
        *("data_dir=made", "num_workers=2", "output_dir=run"),
        command="make-videos",
    )
    again = Run(["make-videos", "data_dir=made", "output_dir=run"], tmp_path, small=True)
    assert again.ended() == 0
    assert not list(tmp_path.rglob(".*.part*"))


def test_parts_of_the_demo_that_run_side_by_side_end_with_it(ended, shop, tmp_path):
    def both_train(run):
        folders = [tmp_path / f"run/stage0_{part}" for part in ("glancer", "focuser")]
        return all((folder / "config.yaml").is_file() for folder in folders)

    shown = ["output_dir=run", "device=cpu", "epochs=1000"]
    ended(signal.SIGTERM, both_train, *shown, command="demo")


def test_a_terminal_has_its_cursor_again(shop, tmp_path):
    ours, theirs = pty.openpty()
    run = Run(shop.stage("stage0", tmp_path / "run", epochs=1000), tmp_path, output=theirs)
    run.wait_until((tmp_path / "run" / "training_state.pt").is_file)
    run.send(signal.SIGINT)
    os.close(theirs)
    assert run.ended(WITHIN) == 130
    shown = b""
    try:
        while block := os.read(ours, 2**16):
            shown += block
    except OSError:  # how a terminal ends
        pass
    os.close(ours)
    assert b"\x1b[?25l" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert shown.rstrip().endswith(b"resume=auto goes on")


def test_a_command_in_a_shells_background_goes_on_when_the_terminal_sends_ctrl_c(tmp_path):
    run = Run(
        ["make-videos", "data_dir=made", "num_workers=0"], tmp_path, small=True, ignoring=True
    )
    run.wait_until((tmp_path / "made" / "videos").is_dir)
    run.send(signal.SIGINT)
    assert run.ended() == 0
