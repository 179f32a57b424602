"""The environments in the hands of others: Gymnasium, CleanRL-style loops, RL Zoo, TorchRL.

A test is skipped, with a message, where the other package is not installed.
"""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorStatistics
from torch import nn
from torch.distributions import Categorical

from agents.policies.policy_files import load_trusted_zip

GRID = "AdaFocus/PatchLocalization-v0"
CONTINUOUS = "AdaFocus/PatchLocalizationContinuous-v0"
REPOSITORY = Path(__file__).parents[3]
SHORT = {"num_frames": 3, "device": "cpu", "observation": "vector"}
T = 3


@pytest.mark.parametrize("mode", [None, "sync", "async"])
def test_every_way_of_making_a_vector_gives_the_same_rewards(mode):
    given = {} if mode is None else {"autoreset_mode": AutoresetMode.SAME_STEP}
    env = gym.make_vec(
        GRID, num_envs=2, vectorization_mode=mode, vector_kwargs=given or None, **SHORT
    )
    # The ids come with the package named as Gymnasium asks.
    single = gym.make(f"adafocus_env:{GRID}", **SHORT)
    env.reset(seed=7)
    single.reset(seed=8)
    actions = np.array([[0, 24, 48], [10, 20, 30]])
    for t in range(T):
        _, rewards, terminated, truncated, _ = env.step(actions[:, t])
        _, reward, _, _, _ = single.step(actions[1, t])
        assert rewards[1] == pytest.approx(reward, abs=1e-5)
        assert terminated.tolist() == [t == T - 1] * 2
        assert not truncated.any()
    env.close()


def test_statistics_and_a_video_of_an_episode_are_recorded(tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo needs moviepy: pip install moviepy")
    recorded = RecordVideo(gym.make(GRID, render_mode="rgb_array", **SHORT), str(tmp_path / "new"))
    env = RecordEpisodeStatistics(recorded)
    env.reset(seed=0)
    rewards = [env.step(24) for _ in range(T)]
    episode = rewards[-1][4]["episode"]
    assert episode["l"] == T
    assert episode["r"] == pytest.approx(sum(reward for _, reward, *_ in rewards), abs=1e-5)
    env.close()
    (video,) = (tmp_path / "new").glob("*.mp4")
    assert video.stat().st_size > 1000


def test_statistics_of_a_vector_are_recorded():
    env = VectorStatistics(gym.make_vec(GRID, num_envs=3, **SHORT))
    env.reset(seed=0)
    totals = np.zeros(3)
    for _ in range(T):
        _, rewards, _, _, infos = env.step(np.array([0, 24, 48]))
        totals += rewards
    ended = infos["episode"]
    assert ended["l"].tolist() == [T] * 3
    np.testing.assert_allclose(ended["r"], totals, atol=1e-5)


def test_a_loop_as_cleanrl_writes_it_learns():
    """Advantage actor-critic with the transition that Gymnasium's own autoreset puts between."""
    torch.manual_seed(0)
    envs = SyncVectorEnv(
        [lambda: RecordEpisodeStatistics(gym.make(GRID, **SHORT)) for _ in range(2)]
    )
    (features,) = envs.single_observation_space.shape or (0,)
    actor, critic = nn.Linear(features, int(envs.single_action_space.n)), nn.Linear(features, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-2)
    before = actor.weight.detach().clone()
    seen, _ = envs.reset(seed=0)
    returns = []
    for _ in range(2 * (T + 1)):
        observation = torch.as_tensor(seen)
        choice = Categorical(logits=actor(observation))
        action = choice.sample()
        seen, reward, terminated, truncated, infos = envs.step(action.numpy())
        with torch.no_grad():
            alive = torch.as_tensor(~(terminated | truncated), dtype=torch.float32)
            target = torch.as_tensor(reward, dtype=torch.float32)
            target = target + 0.5 * alive * critic(torch.as_tensor(seen))[:, 0]
        advantage = target - critic(observation)[:, 0]
        loss = (advantage**2).mean() - (choice.log_prob(action) * advantage.detach()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if "episode" in infos:
            returns += infos["episode"]["r"][infos["_episode"]].tolist()
    envs.close()
    assert len(returns) == 4
    assert np.isfinite(returns).all()
    assert not torch.equal(actor.weight, before)


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


@pytest.mark.parametrize("env_id", [GRID, CONTINUOUS])
def test_torchrls_check_passes(env_id):
    pytest.importorskip("torchrl", reason="TorchRL is not installed: pip install torchrl")
    from torchrl.envs import GymEnv, check_env_specs

    env = GymEnv(env_id, **SHORT)
    check_env_specs(env)
    rollout = env.rollout(10)
    assert rollout["next", "terminated"].flatten().tolist() == [False, False, True]
