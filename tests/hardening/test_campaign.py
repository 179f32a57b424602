"""The campaign, with full marks."""

import subprocess
import sys
from pathlib import Path

import pytest

from processes import environment

pytestmark = pytest.mark.slow


def test_nothing_is_lost_hidden_executed_or_left(tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "campaign.py", "--seed", "0", "--kills", "20"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
