"""Where the YAML files are: in the wheel below `train/configs`, in a checkout beside `train`."""

from __future__ import annotations

from pathlib import Path


def configs_path() -> Path:
    """The folder with `config.yaml`.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    here = Path(__file__).resolve().parents[1]  # train/
    for folder in (here / "configs", here.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"config.yaml is missing beside {here}; reinstall adafocus-env")
