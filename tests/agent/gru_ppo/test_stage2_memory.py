"""How much memory stage 2 takes with the published networks, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("stage2_memory_driver.py")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two updates of four videos of eight frames, patches of 128 pixels; eight seconds of CPU."""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc")
    file = tmp_path_factory.mktemp("memory") / "model.zip"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, str(DRIVER), str(file)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    result: dict[str, float] = json.loads(run.stdout)
    return result


def test_a_full_size_step_adds_at_most_350_mib_to_the_networks(measured):
    # At least the gradients and Adam's two moments of the policy's 7,996,466 parameters.
    assert 3 * 7_996_466 * 4 / 2**20 < measured["added_mib"] <= 350


def test_a_full_size_file_holds_little_beside_parameters_and_moments(measured):
    assert 0.99 < measured["file_ratio"] <= 1.1
