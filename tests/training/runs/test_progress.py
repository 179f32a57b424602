"""The progress display: bars in a terminal, lines elsewhere."""

import io
import logging

import pytest
from rich.console import Console
from rich.progress import Progress, TaskID

from train.runs.progress import ProgressDisplay, ProgressPart


def _run(console):
    with ProgressDisplay(console) as display:
        for name in ("first part", "second part"):
            with display.part(name, total=3) as part:
                for step in range(3):
                    part.advance(f"loss {step}.5" if name == "second part" else None)


def test_without_a_terminal_each_part_is_one_line():
    file = io.StringIO()
    _run(Console(file=file, width=80))
    first, second = file.getvalue().splitlines()
    assert first.startswith("first part: ")
    assert second.startswith("second part: ")
    assert second.endswith("loss 2.5")
    assert "\x1b" not in file.getvalue()


def test_in_a_terminal_there_is_a_bar_for_each_part():
    file = io.StringIO()
    _run(Console(file=file, width=140, force_terminal=True))
    for text in ("first part", "second part", "3/3", "loss 2.5"):
        assert text in file.getvalue()


def test_parts_are_in_the_log_with_their_last_note(caplog):
    with caplog.at_level(logging.INFO, logger="train.runs.progress"):
        _run(Console(file=io.StringIO()))
    first, second = caplog.messages
    assert first.startswith("first part: ")
    assert second.endswith("loss 2.5")


def test_a_part_that_fails_is_not_said_to_be_done(caplog):
    file = io.StringIO()
    with (
        caplog.at_level(logging.INFO, logger="train.runs.progress"),
        pytest.raises(RuntimeError, match="no data"),
        ProgressDisplay(Console(file=file)) as display,
        display.part("training", total=3),
    ):
        raise RuntimeError("no data")
    assert caplog.messages == []
    assert "training" not in file.getvalue()


def test_text_in_brackets_is_shown_as_it_is():
    file = io.StringIO()
    with (
        ProgressDisplay(Console(file=file, width=80)) as display,
        display.part("benchmark", total=1) as part,
    ):
        part.advance("interval [0.1, 0.2], policies [bold]")
    assert "interval [0.1, 0.2], policies [bold]" in file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_names_and_paths_in_brackets_are_shown_as_they_are(terminal):
    file = io.StringIO()
    with (
        ProgressDisplay(Console(file=file, width=140, force_terminal=terminal)) as display,
        display.part("benchmark: gru_ppo[preset=paper]", total=1),
    ):
        display.say("results are in runs/s1 [a=b]")
    assert "benchmark: gru_ppo[preset=paper]" in file.getvalue()
    assert "results are in runs/s1 [a=b]" in file.getvalue()


def test_a_bar_moves_within_a_unit_and_knows_the_time_left_of_slow_ones():
    clock = iter([0.0, *([0.0] * 3), *[400.0 * step for step in range(1, 20)]])
    console = Console(file=io.StringIO(), force_terminal=True)
    console.get_time = lambda: next(clock)
    display = ProgressDisplay(console)
    progress = display._progress
    task = progress.add_task("stage", total=6, note="")
    part = ProgressPart(progress, task)
    part.advance(count=2)  # done by an earlier run
    for _ in part.follow("ab", 2):
        pass
    part.advance("loss 1.5")
    (bar,) = progress.tasks
    assert (bar.completed, bar.fields["note"]) == (3, "loss 1.5")
    part.within(0.5)
    assert bar.completed == 3.5
    assert bar.time_remaining is not None


def test_parts_of_a_unit_are_said_as_they_are_taken():
    said = []
    part = ProgressPart(Progress(disable=True), TaskID(0))
    part.within = said.append
    assert list(part.follow(range(4), 4)) == [0, 1, 2, 3]
    assert said == [0.0, 0.25, 0.5, 0.75]
