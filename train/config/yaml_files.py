"""The YAML files: where they are, and what may be chosen of them."""

from __future__ import annotations

from pathlib import Path

# Groups of files, and a key of the commands that they are for.
GROUPS = {"experiment": "dataset", "dataset": "dataset", "model": "num_frames", "algo": "algo"}

# The published experiments by their earlier names: `actnet_patch96` is `actnet` with patch_size=96.
_PATCH_SIZES = {
    **dict.fromkeys(("actnet", "fcvid", "minik"), (96, 128, 160, 192)),
    **dict.fromkeys(("sthsth_v1", "sthsth_v2"), (144, 160, 176)),
}
PUBLISHED_EXPERIMENTS = {
    f"{name}_patch{size}": (name, size) for name, sizes in _PATCH_SIZES.items() for size in sizes
}


def configs_path() -> Path:
    """The folder with `config.yaml`: in the wheel `train/configs`, in a checkout beside `train`.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    here = Path(__file__).resolve().parents[1]  # train/
    for folder in (here / "configs", here.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"config.yaml is missing beside {here}; reinstall adafocus-env")


def options(group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(file.stem for file in (configs_path() / group).glob("*.yaml"))
