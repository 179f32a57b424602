"""README's programs run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_readme_has_its_three_programs() -> None:
    assert len(PROGRAMS) == 3


@pytest.mark.parametrize("program", PROGRAMS, ids=["random_agent", "sb3_ppo", "gru_ppo"])
def test_a_program_of_the_readme_runs(program: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import torch; torch.set_num_threads(1)\n" + program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
