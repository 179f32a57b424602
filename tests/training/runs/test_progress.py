"""The progress display: bars in a terminal, lines elsewhere."""

import io
import logging

import pytest
from rich.console import Console
from rich.progress import Progress, TaskID

from train.runs.progress import PartsElsewhere, ProgressDisplay, ProgressPart


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


class Clock:
    """Seconds that pass only when a test says so."""

    now = 100.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def test_a_bar_moves_within_a_unit_and_counts_no_unit_of_an_earlier_run_as_quick(clock):
    display = ProgressDisplay(Console(file=io.StringIO(), force_terminal=True), clock=clock)
    with display.part("stage", total=6) as part:
        part.found_done(2)
        (bar,) = display._progress.tasks
        assert (bar.completed, bar.time_remaining) == (2, None)
        items = part.follow("ab", 2)
        next(items)
        clock.pass_(400.0)
        next(items)
        assert (bar.completed, bar.time_remaining) == (2.5, 2800.0)  # seven more halves
        clock.pass_(400.0)
        part.advance("loss 1.5")
        assert (bar.completed, bar.fields["note"], bar.time_remaining) == (3, "loss 1.5", 2400.0)


def test_a_log_tells_of_a_long_part_after_three_seconds_and_then_every_ten(clock):
    file = io.StringIO()
    display = ProgressDisplay(Console(file=file), clock=clock)
    with display.part("stage 1", total=4) as part:
        for epoch in range(4):
            for _ in part.follow(range(10), 10):
                clock.pass_(2.0)
            part.advance(f"loss [{epoch}]")
    assert file.getvalue().splitlines() == [
        "  stage 1: 0.2 of 4 after 4 s, about 76 s left",
        "  stage 1: 0.7 of 4 after 14 s, about 66 s left",
        "  stage 1: 1.2 of 4 after 24 s, about 56 s left, loss [0]",
        "  stage 1: 1.7 of 4 after 34 s, about 46 s left, loss [0]",
        "  stage 1: 2.2 of 4 after 44 s, about 36 s left, loss [1]",
        "  stage 1: 2.7 of 4 after 54 s, about 26 s left, loss [1]",
        "  stage 1: 3.2 of 4 after 64 s, about 16 s left, loss [2]",
        "  stage 1: 3.7 of 4 after 74 s, about 6 s left, loss [2]",
        "stage 1: 80.0 s, loss [3]",
    ]


def test_a_log_says_nothing_in_between_of_a_part_that_takes_ten_seconds(clock):
    file = io.StringIO()
    display = ProgressDisplay(Console(file=file), clock=clock)
    with display.part("center", total=10) as part:
        for _ in range(10):
            clock.pass_(1.0)
            part.advance()
    assert file.getvalue() == "center: 10.0 s\n"


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (60.0, "  bank: 1 of 3 after 60 s, about 2 min left"),
        (3600.0, "  bank: 1 of 3 after 60 min, about 2.0 h left"),
    ],
)
def test_a_part_of_slow_units_is_estimated_by_the_first(clock, seconds, line):
    file = io.StringIO()
    display = ProgressDisplay(Console(file=file), clock=clock)
    with display.part("bank", total=3) as part:
        clock.pass_(seconds)
        part.advance()
    assert file.getvalue().splitlines()[0] == line


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_bar_takes_one_line_of_any_terminal_and_its_numbers_stay_whole(width, clock):
    display = ProgressDisplay(
        Console(file=io.StringIO(), width=width, force_terminal=True), clock=clock
    )
    names = ("stage 3: classifier, random", "benchmark: gru_ppo[preset=paper,seed=1]")
    for name in names:
        with display.part(name, total=2000) as part:
            clock.pass_(65.0)
            part.advance("loss 0.659, val top-1 0.776, mAP 0.879", count=1000)
    seen = Console(file=io.StringIO(), width=width)
    seen.print(display._progress.get_renderable())
    lines = seen.file.getvalue().splitlines()
    assert len(lines) == len(names)
    for line in lines:
        assert len(line) <= width
        assert "01:05" in line
        assert ("1000/2000" if width >= 60 else " 50%") in line
        assert ("loss 0" in line) == (width >= 60)
    assert names[0] in lines[0]


@pytest.mark.parametrize("width", [40, 60])
def test_a_list_of_files_stays_in_its_columns(width):
    file = io.StringIO()
    heading = "What to look at in outputs/[a] folder with a long name of sixty letters and more:"
    display = ProgressDisplay(Console(file=file, width=width))
    display.list_files(heading, {"stage2/policy": "the policy [a] that was learned", "b.md": "b"})
    first, *lines = file.getvalue().splitlines()
    assert first == heading
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("  stage2/policy  the policy [a]")
    assert lines[-1].split() == ["b.md", "b"]


def test_parts_of_a_unit_are_said_as_they_are_taken():
    said = []
    part = ProgressPart(Progress(disable=True), TaskID(0))
    part.within = said.append
    assert list(part.follow(range(4), 4)) == [0, 1, 2, 3]
    assert said == [0.0, 0.25, 0.5, 0.75]


def test_parts_of_another_process_are_shown_as_if_they_were_here(clock):
    here, there = io.StringIO(), io.StringIO()
    elsewhere = PartsElsewhere(ProgressDisplay(Console(file=here, width=80), clock=clock))

    def display_of(run):
        def tell(moved):
            elsewhere.show(run, moved)

        return ProgressDisplay(Console(file=there), clock=clock, tell=tell)

    one, other = (display_of(run).part("bank: train", total=10) for run in ("one", "other"))
    with one as first, other as second:
        for _ in range(4):
            clock.pass_(5.0)
            first.advance("3 frames/s")
            second.advance()
    assert there.getvalue() == ""
    lines = here.getvalue().splitlines()
    assert lines[0] == "  bank: train: 1 of 10 after 5 s, about 45 s left, 3 frames/s"
    assert lines[-2:] == ["bank: train: 20.0 s", "bank: train: 20.0 s, 3 frames/s"]


def test_the_other_display_is_not_told_of_every_move(clock):
    told = []
    display = ProgressDisplay(Console(file=io.StringIO()), clock=clock, tell=told.append)
    with display.part("epochs", 1000) as part:
        for _ in range(1000):
            clock.pass_(0.01)
            part.advance()
    assert 15 <= len(told) <= 25
    assert told[-1].done is None
