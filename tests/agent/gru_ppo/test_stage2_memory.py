"""How much memory stage 2 takes with the published networks, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).with_name("stage2_memory_driver.py")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_full_size_step_adds_at_most_350_mib_and_its_file_holds_little_beside_weights(tmp_path):
    # Two updates of four videos of eight frames, patches of 128 pixels.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(DRIVER), str(tmp_path / "model.zip")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    # At least the gradients and Adam's two moments of the policy's 7,996,466 parameters.
    assert 3 * 7_996_466 * 4 / 2**20 < measured["added_mib"] <= 350
    assert 0.99 < measured["file_ratio"] <= 1.1  # of parameters and moments
