"""Full disks, disks that can only be read, folders below files: every command, one line each."""

import subprocess
import sys
from pathlib import Path

import pytest

from processes import environment

pytestmark = pytest.mark.slow

ALONE = ["unshare", "--mount", "--map-root-user"]


def test_every_command_says_it_in_one_line_and_goes_on_when_there_is_space(shop, tmp_path):
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("this kernel gives no namespaces to mount small disks in")
    done = subprocess.run(
        [*ALONE, sys.executable, Path(__file__).parent / "disks.py", shop.root, tmp_path / "disk"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stdout) == (0, "\n0 went wrong\n"), done.stdout + done.stderr
