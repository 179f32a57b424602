"""The progress display: bars in a terminal, lines elsewhere."""

import io
import logging

import pytest
from rich.console import Console
from rich.progress import Progress, TaskID

from train.runs.progress import ProgressDisplay, ProgressPart


@pytest.fixture
def shown(caplog):
    """Runs two parts of three steps with names, notes and a path in brackets: text, and log."""

    def run(terminal):
        file = io.StringIO()
        console = Console(file=file, width=140, force_terminal=terminal)
        caplog.clear()
        with (
            caplog.at_level(logging.INFO, logger="train.runs.progress"),
            ProgressDisplay(console) as display,
        ):
            for name in ("first part", "second[preset=paper]"):
                with display.part(name, total=3) as part:
                    for step in range(3):
                        part.advance(f"loss [{step}.5, bold]" if "second" in name else None)
            display.say("results are in runs/s1 [a=b]")
        return file.getvalue(), caplog.messages

    return run


def test_without_a_terminal_each_part_is_one_line_in_a_terminal_a_bar_and_brackets_are_kept(shown):
    for terminal in (False, True):
        text, (first, second) = shown(terminal)
        for words in ("first part", "second[preset=paper]", "loss [2.5, bold]", "runs/s1 [a=b]"):
            assert words in text
        assert ("3/3" in text) == ("\x1b" in text) == terminal
        assert first.startswith("first part: ")
        assert second.startswith("second[preset=paper]: ")
        assert second.endswith("loss [2.5, bold]")
        assert terminal or text.splitlines() == [first, second, "results are in runs/s1 [a=b]"]


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


def test_a_bar_moves_within_a_unit_and_knows_the_time_left_of_slow_ones():
    clock = iter([0.0, *([0.0] * 3), *[400.0 * step for step in range(1, 20)]])
    console = Console(file=io.StringIO(), force_terminal=True)
    console.get_time = lambda: next(clock)
    progress = ProgressDisplay(console)._progress
    part = ProgressPart(progress, progress.add_task("stage", total=6, note=""))
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
