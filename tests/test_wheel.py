"""The wheel: what is in it, and what a user's type checker sees of it."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import adafocus_env

ROOT = Path(__file__).parents[1]

USERS_FILE = """
import gymnasium
import numpy as np
import numpy.typing as npt
import torch

import adafocus_env
from adafocus_env.envs import PatchLocalizationVectorEnv
from agents import AdaFocus, Evaluation, GruPPO, RandomAgent, Sb3VecEnvAdapter, evaluate_agent

ID = "AdaFocus/PatchLocalization-v0"


def train(steps: int) -> GruPPO:
    envs = Sb3VecEnvAdapter(gymnasium.make_vec(ID, num_envs=2, split="train"))
    model = GruPPO(env=envs, n_epochs=2, policy_kwargs={"hidden_dim": 8}, seed=0)
    return model.learn(steps)


def judge(model: GruPPO) -> npt.NDArray[np.float64]:
    envs = PatchLocalizationVectorEnv(num_envs=2, autoreset_mode="disabled")
    result: Evaluation = evaluate_agent(envs, model, videos=[0, 1])
    other = evaluate_agent(envs, RandomAgent(envs.single_action_space), videos=[0, 1], draws=2)
    return result.rewards[:, -1] - other.per_video(other.rewards)[:, -1]


def classify(model: AdaFocus, frames: torch.Tensor) -> list[int]:
    logits, _ = model.predict(frames)
    return [int(best) for best in logits[:, -1].argmax(dim=1)]


env = gymnasium.make(ID, split="train")
observation, info = env.reset(seed=0)
print(adafocus_env.__version__, judge(train(16)).shape)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=300)
    (path,) = folder.glob("*.whl")
    return path


def test_it_holds_types_configurations_and_pages(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("adafocus_env", "agents", "train"):
        assert {f"{package}/py.typed", f"{package}/README.md"} <= names
    assert {"train/configs/config.yaml", "adafocus_env/PUBLISHED.md"} <= names
    assert not any(name.startswith(("tests/", "configs/")) for name in names)


@pytest.mark.slow
def test_a_users_file_passes_mypy_strict_and_runs(wheel, tmp_path):
    """In an environment where the wheel is installed, beside what this one has."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "user.py").write_text(USERS_FILE)

    def run(*command):
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600
        )
        return done.stdout or done.stderr

    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable")
    assert run(*mypy, python, "user.py") == "Success: no issues found in 1 source file\n"
    assert run(python, "user.py") == f"{adafocus_env.__version__} (2,)\n"
