"""How long a process takes to begin, beside one that only imports torch and torchvision."""

from __future__ import annotations

import subprocess
import sys

import rows

_MAIN = "from train.cli.main import main; main({})"
CODE = {
    "torch": "import torch, torchvision",
    "flops": _MAIN.format(["flops"]),
    "help": _MAIN.format(["--help"]),
    "make": (
        "import gymnasium, adafocus_env; "
        "gymnasium.make('AdaFocus/PatchLocalization-v0').reset(seed=0)"
    ),
}


def task(name: str) -> rows.Function:
    """One process, from its start to its end."""
    command = [sys.executable, "-c", CODE[name]]
    return rows.Function(lambda: subprocess.run(command, check=True, capture_output=True))
