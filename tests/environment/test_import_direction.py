"""Imports point one way: `adafocus_env` <- `agents` <- `train`, and so do those inside `train`."""

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

# The rooms of `train`, each of which may import those before it.
ROOMS = (
    *("config", "runs", "checkpoints", "data_tools", "evaluation", "stages", "tune"),
    "pipeline",
    *("demo", "cli", "__main__"),
)


def _modules(source):
    """The modules of all imports, also of those within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import stays in its own package as long as it does not climb out of it.
            names.add(node.module or "" if node.level == 0 else "." * node.level)
    return names


def _imported(source):
    """Top-level names of all imports."""
    return {name if name.startswith(".") else name.split(".")[0] for name in _modules(source)}


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


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_of_train_import_only_those_before_them(room):
    folder = REPOSITORY / "train"
    files = [*(folder / room).rglob("*.py"), *folder.glob(f"{room}.py")]
    assert files
    later = {f"train.{other}" for other in ROOMS[ROOMS.index(room) + 1 :]}
    for file in files:
        found = {".".join(name.split(".")[:2]) for name in _modules(file.read_text("utf-8"))}
        assert not found & later, file
        # `from train import demo` would say nothing of the room.
        assert "train" not in found, file


def test_every_room_of_train_has_its_place_in_the_order():
    rooms = {path.stem for path in (REPOSITORY / "train").iterdir() if path.suffix in (".py", "")}
    assert rooms - {"__init__", "__pycache__", "configs"} == set(ROOMS)
