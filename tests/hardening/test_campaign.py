"""The campaign, with full marks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import ROOT

pytestmark = pytest.mark.slow


def test_nothing_is_lost_hidden_executed_or_left(tmp_path):
    # One thread: those of tiny networks wait for each other more than they compute.
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "campaign.py", "--seed", "0", "--kills", "20"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
