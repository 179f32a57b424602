"""Building a feature bank; rollouts and updates of stage 2 on one and on live features.

Decoding is left out.

At full size the bank holds random numbers of the right shapes: what is timed does not depend on
them, and making a true one takes an hour on a CPU.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor
from torch import Tensor

from adafocus_env.data.clips import Clip
from adafocus_env.data.glyphs.drawing import GlyphTask
from adafocus_env.data.glyphs.localization import GLYPHS
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.envs import PatchGrid, PatchLocalizationVectorEnv, shipped_recognizer
from adafocus_env.envs.factory import make_core_from_parts
from adafocus_env.features import BankBuilder, FeatureBank
from adafocus_env.features.source import EpisodeStart
from adafocus_env.networks import FrozenNetworks, Recognizer
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.registry import algorithm_arguments
from agents.sb3.vec_env import Sb3VecEnvAdapter
from published_loop import PublishedLoop
from rows import NoiseVideos, Sizes, published_networks
from train.evaluation.flops import multiply_adds

ROWS = STEPS = 16
# Rows, steps, preset and arguments of a stage-2 update. On the built-in task: the published update
# (one epoch, one batch) of the demo's policy on whole episodes; and the demo's own, three epochs on
# episodes of two frames, where the policy's work is most of it.
UPDATES: dict[str, tuple[int, int, str, dict[str, Any]]] = {
    "full_size": (ROWS, STEPS, "paper", {}),
    "four_videos": (4, 8, "paper", {}),
    "builtin": (64, 8, "paper", {"policy_kwargs": {"hidden_dim": 256}}),
    "builtin_demo": (256, 2, "demo", {}),
}


class KeptGlyphs(GlyphVideos):
    """The first built-in training videos, each drawn once."""

    def __init__(self, count: int, num_frames: int, task: GlyphTask = GLYPHS):
        super().__init__("train", num_frames=num_frames, frame_sampling="random", task=task)
        self._count = count
        self._kept: dict[int, Clip] = {}

    def __len__(self) -> int:
        return self._count

    def clip(self, index: int, episode_seed: int) -> Clip:
        if index not in self._kept:
            self._kept[index] = super().clip(index, episode_seed)
        return self._kept[index]


class RandomNumbers(BankBuilder):
    """Writes random features."""

    def _shard_arrays(self, shard: int, clips: Any, advance: Any) -> dict[str, Tensor]:
        del clips, advance
        videos = self.layout.videos_of(shard)
        count = len(videos) * self.layout.views
        arrays = {
            name: torch.rand(count, *shape).half()
            for name, shape in self.layout.clip_shapes.items()
        }
        arrays["labels"] = torch.as_tensor(self._videos.labels[videos.start : videos.stop])
        return arrays


def _full_size(count: int, num_frames: int) -> tuple[Recognizer, NoiseVideos]:
    sizes = Sizes(num_videos=count, num_frames=num_frames)
    return published_networks(sizes)[0], NoiseVideos(sizes, 224)


def _built(builder: BankBuilder) -> FeatureBank:
    builder.prepare()
    builder.build_shards()
    builder.finish()
    return FeatureBank.open(builder.folder)


def _random_bank(recognizer: Recognizer, videos: NoiseVideos) -> FeatureBank:
    positions = PatchGrid(7, 224, 128).all_offsets()
    return _built(RandomNumbers(tempfile.mkdtemp(), recognizer, videos, positions=positions))


class Build:
    """The features of decoded videos at all 49 positions of each frame.

    Args:
        size: `"full_size"`, one video of two frames, or `"builtin"`, eight of eight.
        published: frame by frame through networks as they are published; nothing is written.
    """

    def __init__(self, size: str, *, published: bool):
        self._videos: Any
        if size == "full_size":
            self._recognizer, self._videos = _full_size(1, 2)
        else:
            self._recognizer = Recognizer.load(shipped_recognizer())
            self._videos = KeptGlyphs(8, 8)
        config = self._recognizer.config
        self._positions = PatchGrid(7, config.frame_size, config.patch_size).all_offsets()
        self._clips = [self._videos.clip(index, index).frames for index in range(len(self._videos))]
        self._loop = PublishedLoop(self._recognizer) if published else None
        parts = multiply_adds(self._recognizer)
        per_video = parts["glancer"] + len(self._positions) * parts["focuser"]
        self.multiply_adds = per_video * len(self._videos)
        self.frames = len(self._videos) * config.num_frames

    def run(self) -> None:
        """All features once."""
        if self._loop is not None:
            for clip in self._clips:
                self._loop.features(clip, self._positions)
            return
        with tempfile.TemporaryDirectory() as folder:
            _built(BankBuilder(folder, self._recognizer, self._videos, positions=self._positions))


class Rewards:
    """Features and rewards of one rollout of given actions, 16 videos of 16 frames."""

    multiply_adds = 0.0

    def __init__(self, *, banked: bool):
        recognizer, videos = _full_size(ROWS, STEPS)
        bank = _random_bank(recognizer, videos) if banked else None
        self._core = make_core_from_parts(
            recognizer, videos, num_rows=ROWS, baseline_positions="grid", bank=bank
        )
        self._starts = [EpisodeStart(row, row) for row in range(ROWS)]
        self._actions = torch.randint(0, 49, (ROWS, STEPS))

    def run(self) -> None:
        """Begin the episodes, observe and play them."""
        self._core.reset_rows(range(ROWS), self._starts)
        self._core.observe_episode()
        self._core.play(self._actions)


class StageTwo:
    """A rollout and the update from it.

    Args:
        size: key of `UPDATES`.
        banked: features from a bank.
    """

    multiply_adds = 0.0

    def __init__(self, size: str, *, banked: bool):
        rows, steps, preset, overrides = UPDATES[size]
        recognizer: Recognizer
        videos: Any
        bank: FeatureBank | None = None
        if not size.startswith("builtin"):
            recognizer, videos = _full_size(rows, steps)
            bank = _random_bank(recognizer, videos) if banked else None
        else:
            recognizer, videos = Recognizer.load(shipped_recognizer()), KeptGlyphs(rows, steps)
            if banked:
                positions = PatchGrid(7, 112, 32).all_offsets()
                folder = tempfile.mkdtemp()
                bank = _built(BankBuilder(folder, recognizer, videos, positions=positions))
        env = PatchLocalizationVectorEnv.from_parts(
            recognizer, videos, num_envs=rows, baseline_positions="grid", bank=bank
        )
        arguments = algorithm_arguments("gru_ppo", preset, overrides)
        vec_env = VecMonitor(Sb3VecEnvAdapter(env))
        self._algorithm = GruPPO(env=vec_env, seed=0, device="cpu", **arguments)
        self._algorithm.set_logger(Logger(folder=None, output_formats=[]))
        self._callback: BaseCallback | None = None
        if not banked:  # the networks in the form that rollouts use are no memory of a run
            side = recognizer.config.frame_size
            dark = torch.zeros(1, 3, side, side, dtype=torch.uint8)
            networks = FrozenNetworks(recognizer)
            networks.glance(dark)
            networks.focus(dark, torch.zeros(1, 2, dtype=torch.int64))

    def run(self) -> None:
        """One update of stage 2."""
        algorithm = self._algorithm
        if self._callback is None:
            _, self._callback = algorithm._setup_learn(10**9)
        assert algorithm.env is not None
        algorithm.collect_rollouts(
            algorithm.env, self._callback, algorithm.rollout_buffer, algorithm.n_steps
        )
        algorithm.train()
