"""Sizes of buffers, worked out by hand and compared with what SB3 allocates; and free memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.gru_ppo.algorithm import GruPPO
from agents.sb3 import buffer_memory
from agents.sb3.buffer_memory import available_bytes, buffer_size, check_buffer

VECTORS = spaces.Box(0.0, 6.0, (48,), np.float32)
GRID = spaces.Discrete(49)


def _size(algorithm, **arguments):
    return buffer_size(algorithm, arguments, VECTORS, GRID, num_rows=4, num_decisions=8)


def test_a_replay_buffer_holds_every_observation_twice():
    # Observation and the next one, 48 float32 each; an int64 action; reward, done and timeout.
    size = _size(DQN, buffer_size=1000)
    assert (size.what, size.transitions) == ("replay buffer", 1000)
    assert size.num_bytes == 1000 * (2 * 48 * 4 + 8 + 3 * 4)
    assert str(size) == "replay buffer of 1,000 steps, 404.0 kB"


def test_a_rollout_buffer_is_copied_once_to_be_shuffled_and_an_lstm_keeps_four_states_a_step():
    size = _size(PPO, n_steps=16)
    assert (size.what, size.transitions) == ("rollout buffer", 64)
    assert size.num_bytes == 64 * (2 * 48 * 4 + 8 + 6 * 4)
    kwargs = {"lstm_hidden_size": 32, "n_lstm_layers": 2}
    size = _size(RecurrentPPO, n_steps=16, policy_kwargs=kwargs)
    assert size.num_bytes == 64 * (2 * (48 * 4 + 4 * 4 * 64) + 8 + 6 * 4)


def test_defaults_are_the_constructors_also_through_a_subclass_that_hands_them_on():
    assert _size(GruPPO).transitions == 4 * 8  # whole episodes
    assert _size(GruPPO, episodes_per_row=3).transitions == 3 * 4 * 8

    class Own(DQN):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert _size(Own).transitions == 1_000_000
    assert _size(PPO).transitions == 4 * 2048

    class Unknown(BaseAlgorithm):
        pass

    assert _size(Unknown) is None


@pytest.mark.parametrize("algorithm", [DQN, SAC])
def test_the_size_is_what_sb3_allocates(make_adapter, algorithm):
    locations = "grid" if algorithm is DQN else "continuous"
    env = make_adapter(3, observation="vector", locations=locations)
    model = algorithm("MlpPolicy", env, buffer_size=100, device="cpu")
    buffer = model.replay_buffer
    arrays = [value for value in vars(buffer).values() if isinstance(value, np.ndarray)]
    spaces = env.observation_space, env.action_space
    given = {"buffer_size": 100}
    size = buffer_size(algorithm, given, *spaces, num_rows=3, num_decisions=4)
    assert size.num_bytes == sum(array.nbytes for array in arrays)
    assert size.transitions == 99


def test_what_does_not_fit_is_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(buffer_memory, "available_bytes", lambda device: 2_000_000)
    size = _size(DQN, buffer_size=10_000)
    message = r"replay buffer of 10,000 steps, 4\.0 MB does not fit into the 2\.0 MB .* use less"
    with pytest.raises(ValueError, match=message):
        check_buffer(size, torch.device("cpu"), "use less")
    check_buffer(_size(DQN, buffer_size=100), torch.device("cpu"), "use less")


def _machine(tmp_path, patch, **files):
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    memory = SimpleNamespace(total=9_000_000, available=3_000_000)
    patch.setattr(buffer_memory.psutil, "virtual_memory", lambda: memory)
    patch.setattr(buffer_memory, "_CGROUP", tmp_path)
    return available_bytes(torch.device("cpu"))


def test_free_is_what_the_machine_or_its_container_has_and_its_file_cache_does_not_count(
    tmp_path, monkeypatch
):
    assert _machine(tmp_path, monkeypatch) == 3_000_000
    assert _machine(tmp_path, monkeypatch, memory_max="max\n") == 3_000_000
    files = {
        "memory_max": "1000000\n",
        "memory_current": "700000\n",
        "memory_stat": "anon 300000\ninactive_file 200000\n",
    }
    assert _machine(tmp_path, monkeypatch, **files) == 500_000
