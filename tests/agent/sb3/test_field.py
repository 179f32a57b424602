"""The environments in the hands of others: Gymnasium, CleanRL-style loops, RL Zoo, TorchRL.

A test is skipped, with a message, where the other package is not installed; `.ci/run` installs
them.
"""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks

from agents import Sb3VecEnvAdapter
from agents.policies.policy_files import load_trusted_zip

GRID = "AdaFocus/PatchLocalization-v0"
CONTINUOUS = "AdaFocus/PatchLocalizationContinuous-v0"
REPOSITORY = Path(__file__).parents[3]
SHORT = {"num_frames": 3, "device": "cpu", "observation": "vector"}
T = 3


def test_a_loop_as_cleanrl_writes_it_sees_returns_and_the_transition_between_episodes():
    """Gymnasium's own vector and wrapper, whose autoreset takes a step of its own."""
    # The ids come with the package named as Gymnasium asks.
    made = lambda: RecordEpisodeStatistics(gym.make(f"adafocus_env:{GRID}", **SHORT))  # noqa: E731
    envs = SyncVectorEnv([made] * 2)
    envs.reset(seed=0)
    returns, totals = [], np.zeros(2)
    for t in range(2 * (T + 1)):
        _, rewards, terminated, truncated, infos = envs.step(np.array([24, 3]))
        assert (terminated | truncated).tolist() == [t % (T + 1) == T - 1] * 2
        totals += rewards
        if "episode" in infos:
            returns += infos["episode"]["r"][infos["_episode"]].tolist()
    assert len(returns) == 4
    assert sum(returns) == pytest.approx(totals.sum(), abs=1e-5)


@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
def test_maskable_ppo_runs_on_the_environments(vector):
    env = (
        Sb3VecEnvAdapter(gym.make_vec(GRID, num_envs=2, **SHORT))
        if vector
        else gym.make(GRID, **SHORT)
    )
    model = MaskablePPO("MlpPolicy", env, n_steps=2 * T, batch_size=2 * T, n_epochs=1, seed=0)
    model.learn(2 * T)
    masks = get_action_masks(model.get_env())
    assert (masks.shape, masks.all()) == ((1 + vector, 49), True)


@pytest.mark.slow
def test_rl_zoo_trains_and_its_file_is_a_policy_here(tmp_path):
    pytest.importorskip("rl_zoo3", reason="RL Zoo is not installed: pip install rl_zoo3")
    (tmp_path / "ppo.yml").write_text(
        f"{GRID}:\n  n_envs: 2\n  n_timesteps: 12\n  policy: MlpPolicy\n"
        "  n_steps: 3\n  batch_size: 6\n  n_epochs: 1\n"
    )
    arguments = [
        *("--algo", "ppo", "--env", GRID, "--gym-packages", "adafocus_env", "-conf", "ppo.yml"),
        *("--eval-freq", "-1", "-f", "logs", "--device", "cpu", "--verbose", "0"),
        *("--env-kwargs", "observation:'vector'", "num_frames:3"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "rl_zoo3.train", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("logs/ppo/*/*.zip")
    policy = load_trusted_zip(file).policy
    assert policy.predict(np.zeros((4, 48), np.float32))[0].shape == (4,)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [GRID, CONTINUOUS])
def test_torchrls_check_passes(env_id):
    pytest.importorskip("torchrl", reason="TorchRL is not installed: pip install torchrl")
    from torchrl.envs import GymEnv, check_env_specs

    env = GymEnv(env_id, **SHORT)
    check_env_specs(env)
    rollout = env.rollout(10)
    assert rollout["next", "terminated"].flatten().tolist() == [False, False, True]
