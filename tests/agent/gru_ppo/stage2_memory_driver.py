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

import torch

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import FrozenNetworks, Recognizer, RecognizerConfig
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.vec_env import Sb3VecEnvAdapter
from rows import NoiseVideos, Sizes
from train.cli.allocator import keep_freed_memory


def memory_mib(name: str) -> float:
    """`VmRSS`, resident memory now, or `VmHWM`, its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


torch.set_num_threads(1)
keep_freed_memory()
sizes = Sizes(num_videos=4, num_frames=8)
videos = NoiseVideos(sizes, 224)
recognizer = Recognizer(RecognizerConfig(videos.class_names, num_frames=sizes.num_frames))
env = PatchLocalizationVectorEnv.from_parts(recognizer, videos, num_envs=sizes.num_videos)
model = GruPPO(env=Sb3VecEnvAdapter(env), seed=0, device="cpu")
dark = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
networks = FrozenNetworks(recognizer)  # shares its folded weights with the environment
networks.glance(dark)
networks.focus(dark, torch.zeros(1, 2, dtype=torch.int64))
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what folding the networks has freed is no part of them
resident = memory_mib("VmRSS")
Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak
model.learn(2 * 4 * 8)  # from the second step on Adam's moments are there
assert model._n_updates == 2
added = memory_mib("VmHWM") - resident
model.save(sys.argv[1])
moments = [v for state in model.policy.optimizer.state.values() for v in state.values()]
needed = sum(t.numel() * t.element_size() for t in [*model.policy.state_dict().values(), *moments])
print(json.dumps({"added_mib": added, "file_ratio": Path(sys.argv[1]).stat().st_size / needed}))
