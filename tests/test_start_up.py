"""What is imported before a command or an environment begins: no more than it needs."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = ["scipy", "matplotlib", "torchmetrics", "accelerate", "sb3_contrib", "pandas", "optuna"]
MAIN = "from train.cli.main import main"


def _imported(code, names, cwd):
    """Which of the packages a process has imported after some lines of code."""
    code = f"import sys\n{code}\nprint(sorted(set({names!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "mistake",
    [["flops", "epoch=3"], ["stage9"], ["stage1", "experiment=glyph"], ["stage1", "epochs=0"]],
    ids=str,
)
def test_a_mistake_on_the_command_line_is_answered_without_torch(tmp_path, mistake):
    assert _imported(f"{MAIN}\nassert main({mistake!r})", ["torch"], tmp_path) == "[]"


def test_videos_are_made_checked_and_extracted_without_torch(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other").touch()
    mistakes = (
        ["make-videos", "data_dir=data"],
        ["check-data", "dataset=videos", "data_dir=data"],
        ["extract-frames", "source=nowhere", "target=frames"],
    )
    code = f"{MAIN}\nassert [main(line) for line in {mistakes!r}] == [1, 1, 1]"
    assert _imported(code, ["torch"], tmp_path) == "[]"


@pytest.mark.parametrize(
    ("code", "others"),
    [
        (f"{MAIN}\nassert main(['flops']) == 0", []),
        (
            "import gymnasium, adafocus_env\n"
            "gymnasium.make('AdaFocus/PatchLocalization-v0').reset(seed=0)",
            ["stable_baselines3", "hydra", "rich", "agents"],
        ),
    ],
    ids=["flops", "make"],
)
def test_flops_and_an_environments_first_episode_need_little_beside_torch(tmp_path, code, others):
    assert _imported(code, [*HEAVY, *others], tmp_path) == "[]"


@pytest.mark.parametrize("command", ["stage1", "evaluate"])
def test_what_is_needed_at_the_end_of_an_epoch_is_imported_then(tmp_path, command):
    code = (
        "import importlib\nfrom train.config.commands import COMMANDS\nimport train.runs.context\n"
        f"importlib.import_module(COMMANDS[{command!r}].function.partition(':')[0])"
    )
    assert _imported(code, ["scipy.stats", "torchmetrics", "matplotlib"], tmp_path) == "[]"
