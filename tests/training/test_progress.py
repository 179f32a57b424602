"""The progress display: bars in a terminal, lines elsewhere."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from train.progress import ProgressDisplay


def _run(console: Console) -> None:
    with ProgressDisplay(console) as display:
        for name in ("first part", "second part"):
            with display.part(name, total=3) as part:
                for step in range(3):
                    part.advance(f"loss {step}.5" if name == "second part" else None)


def test_without_a_terminal_each_part_is_one_line() -> None:
    file = io.StringIO()
    _run(Console(file=file, width=80))
    first, second = file.getvalue().splitlines()
    assert first.startswith("first part: ")
    assert second.startswith("second part: ")
    assert second.endswith("loss 2.5")
    assert "\x1b" not in file.getvalue()


def test_in_a_terminal_there_is_a_bar_for_each_part() -> None:
    file = io.StringIO()
    _run(Console(file=file, width=140, force_terminal=True))
    for text in ("first part", "second part", "3/3", "loss 2.5"):
        assert text in file.getvalue()


def test_parts_are_in_the_log_with_their_last_note(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="train.progress"):
        _run(Console(file=io.StringIO()))
    first, second = caplog.messages
    assert first.startswith("first part: ")
    assert second.endswith("loss 2.5")


def test_a_part_that_fails_is_not_said_to_be_done(caplog: pytest.LogCaptureFixture) -> None:
    file = io.StringIO()
    with (
        caplog.at_level(logging.INFO, logger="train.progress"),
        pytest.raises(RuntimeError, match="no data"),
        ProgressDisplay(Console(file=file)) as display,
        display.part("training", total=3),
    ):
        raise RuntimeError("no data")
    assert caplog.messages == []
    assert "training" not in file.getvalue()


def test_text_in_brackets_is_shown_as_it_is() -> None:
    file = io.StringIO()
    with (
        ProgressDisplay(Console(file=file, width=80)) as display,
        display.part("benchmark", total=1) as part,
    ):
        part.advance("interval [0.1, 0.2], policies [bold]")
    assert "interval [0.1, 0.2], policies [bold]" in file.getvalue()
