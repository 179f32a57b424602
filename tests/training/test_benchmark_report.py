"""Tables and figure of a benchmark, from made-up numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from train.benchmark_report import write_report


def _policy(name: str, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": name,
        "reward_mean": 0.0601,
        "reward_ci95": [0.0552, 0.0649],
        "return_mean": 0.481,
        "top1": 0.978,
        "top1_ci95": [0.964, 0.99],
        "top1_per_step": [0.7, 0.978],
        "map": 0.991,
        "on_target": 0.72,
        "gmacs_per_video": 0.134,
        "classifier": "own",
    }
    return {**values, **changes}


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """Writes a report of some policies; gives the Markdown and what was printed."""

    def write(*policies: dict[str, Any], **result: Any) -> tuple[str, str]:
        values = {"videos": 500, "split": "test", "seed": 3, "recognizer_sha256": "ab" * 32}
        printed = io.StringIO()
        console = Console(file=printed, width=80)
        write_report({**values, "policies": list(policies), **result}, tmp_path, console)
        assert (tmp_path / "accuracy_per_step.png").stat().st_size > 1000
        return (tmp_path / "benchmark.md").read_text(), printed.getvalue()

    return write


def _cells(markdown: str, name: str) -> list[str]:
    (line,) = [line for line in markdown.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_every_number_of_a_policy(report: Any) -> None:
    markdown, printed = report(_policy("learned"))
    text = " ".join(_cells(markdown, "learned"))
    for number in (".0601", ".055", ".065", ".48", ".978", ".96", ".99", ".991", ".72", ".134"):
        assert number in text, number
    assert "learned" in printed


@pytest.mark.parametrize(
    ("gmacs", "shown"),
    [
        (26.522, "26.522"),
        (20.25, "20.250"),
        (10.5, "10.500"),
        (0.134, ".134"),
        (100.125, "100.125"),
    ],
)
def test_multiply_adds_of_any_size_are_shown_as_they_are(
    report: Any, gmacs: float, shown: str
) -> None:
    markdown, printed = report(_policy("learned", gmacs_per_video=gmacs))
    assert _cells(markdown, "learned")[-1] == shown
    assert f" {shown}" in printed


def test_certain_rates_and_losses_are_shown_with_their_sign(report: Any) -> None:
    policy = _policy("center", reward_mean=-0.0104, reward_ci95=[-0.02, 0.0], top1=1.0, map=0.0)
    markdown, _ = report(policy)
    cells = _cells(markdown, "center")
    assert cells[1] in ("-.0104", "-0.0104")
    assert "1.000" in cells
    assert any(cell in (".000", "0.000") for cell in cells)


def test_a_share_on_target_that_is_not_known_is_no_number(report: Any) -> None:
    markdown, printed = report(_policy("random", on_target=None))
    assert "?" in _cells(markdown, "random")
    assert "None" not in markdown + printed


def test_it_says_which_videos_and_which_recognizer(report: Any) -> None:
    markdown, _ = report(_policy("random"))
    assert "500 videos of the split `test`, seed 3, recognizer `abababababab`" in markdown


def test_both_tables_are_there_where_there_are_two(report: Any) -> None:
    markdown, printed = report(
        _policy("random"), policies_same_classifier=[_policy("random", classifier="common")]
    )
    assert markdown.count("| random |") == 2
    assert sum(line.split()[:1] == ["random"] for line in printed.splitlines()) == 2


def test_the_table_fits_a_terminal_of_80_columns(report: Any) -> None:
    negative = {"reward_mean": -0.0104, "reward_ci95": [-0.012, -0.009], "gmacs_per_video": 53.213}
    _, printed = report(_policy("greedy_oracle", **negative), _policy("learned"))
    rows = [line for line in printed.splitlines() if line.split()[:1] == ["greedy_oracle"]]
    assert len(rows) == 1
    for text in ("-.0104", "-.012", "-.009", ".978", ".72", "53.213"):
        assert text in rows[0]
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines())
