"""What a stage-2 step at full size adds to the resident networks, and the size of its saved file.

usage: stage2_memory_driver.py FILE

Prints JSON: `added_mib`, peak less networks; `file_ratio`, FILE over parameters and optimizer's
state. The networks have random weights; four videos of eight frames are in memory; the allocator is
set as the launcher sets it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adafocus_env.data.clips import Clip
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import FrozenNetworks, Recognizer, RecognizerConfig
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.vec_env import Sb3VecEnvAdapter
from train.cli.allocator import keep_freed_memory

N, T = 4, 8


class Noise:
    """Random videos."""

    class_names = tuple(f"class {k}" for k in range(200))
    labels = np.arange(N)
    label_sets = tuple((k,) for k in range(N))
    num_frames, frame_size, num_glance_frames = T, 224, None

    def __len__(self) -> int:
        return N

    def clip(self, index: int, episode_seed: int) -> Clip:
        frames = np.random.default_rng(index).integers(0, 256, (T, 3, 224, 224), dtype=np.uint8)
        return Clip(torch.from_numpy(frames), index)

    def target_centers(self, index: int) -> Any:
        return None


def memory_mib(name: str) -> float:
    """`VmRSS`, resident memory now, or `VmHWM`, its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


torch.set_num_threads(1)
keep_freed_memory()
recognizer = Recognizer(RecognizerConfig(Noise.class_names, num_frames=T))
env = PatchLocalizationVectorEnv.from_parts(recognizer, Noise(), num_envs=N)
model = GruPPO(env=Sb3VecEnvAdapter(env), seed=0, device="cpu")
dark = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
networks = FrozenNetworks(recognizer)  # shares its folded weights with the environment
networks.glance(dark)
networks.focus(dark, torch.zeros(1, 2, dtype=torch.int64))
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what folding the networks has freed is no part of them
resident = memory_mib("VmRSS")
Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak
model.learn(2 * N * T)  # from the second step on Adam's moments are there
assert model._n_updates == 2
added = memory_mib("VmHWM") - resident
model.save(sys.argv[1])
moments = [v for state in model.policy.optimizer.state.values() for v in state.values()]
needed = sum(t.numel() * t.element_size() for t in [*model.policy.state_dict().values(), *moments])
print(json.dumps({"added_mib": added, "file_ratio": Path(sys.argv[1]).stat().st_size / needed}))
