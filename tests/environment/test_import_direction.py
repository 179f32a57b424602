"""Imports point one way: `adafocus_env` <- `agents` <- `train` (DESIGN, section 1)."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

FORBIDDEN = {
    "adafocus_env": {
        "agents", "train", "stable_baselines3", "sb3_contrib",
        "hydra", "omegaconf", "accelerate", "torchmetrics", "matplotlib", "rich", "tqdm",
    },
    "agents": {"train", "hydra", "omegaconf", "accelerate"},
}  # fmt: skip


def _imported(source):
    """Top-level names of all imports, also of those within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import stays in its own package as long as it does not climb out of it.
            names.add((node.module or "").split(".")[0] if node.level == 0 else "." * node.level)
    return names


def test_imports_are_found_wherever_they_stand():
    source = "import a.b as c, d\ndef f():\n    from e.g import h\n    from . import i\n"
    assert _imported(source) == {"a", "d", "e", "."}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_import_points_upwards(package):
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files or package != "adafocus_env"
    wrong = {
        str(file.relative_to(REPOSITORY)): sorted(found)
        for file in files
        if (found := _imported(file.read_text(encoding="utf-8")) & FORBIDDEN[package])
    }
    assert wrong == {}


def test_networks_data_and_features_know_nothing_of_environments():
    for room in ("networks", "data", "features"):
        for file in (REPOSITORY / "adafocus_env" / room).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert "adafocus_env.envs" not in text, file
            assert "gymnasium" not in _imported(text), file
