"""What `make benchmark` times: tasks that do the same in two ways, ours and another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.data.clips import Clip
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer, RecognizerConfig, crop_patches, freeze
from agents.inference import AdaFocus
from agents.policies.distributions import GridDistribution, inverse_cdf
from agents.policies.gru_policy import GruActorCriticPolicy
from published_loop import PublishedLoop, crop_one_by_one
from train.evaluation.flops import multiply_adds

Way = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """N videos of T frames; the published networks otherwise.

    Attributes:
        num_videos: N.
        num_frames: T.
        patch_size: P.
        num_classes: K.
    """

    num_videos: int = 4
    num_frames: int = 8
    patch_size: int = 128
    num_classes: int = 200


@dataclass(frozen=True)
class Function:
    """A task that is one function; see `tasks`."""

    run: Way
    multiply_adds: float = 0.0
    dtype: str = "float32"
    frames: int = 0


class NoiseVideos:
    """Random frames that are in memory already: decoding is not what is timed."""

    def __init__(self, sizes: Sizes, frame_size: int):
        shape = (sizes.num_videos, sizes.num_frames, 3, frame_size // 8, frame_size // 8)
        small = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self.frames = torch.from_numpy(small.repeat(8, axis=-1).repeat(8, axis=-2))
        self.class_names = tuple(f"class {k}" for k in range(sizes.num_classes))
        self.labels = np.arange(sizes.num_videos) % sizes.num_classes
        self.label_sets = tuple((int(label),) for label in self.labels)
        self.num_frames, self.frame_size = sizes.num_frames, frame_size
        self.num_glance_frames = None

    def __len__(self) -> int:
        return len(self.labels)

    def clip(self, index: int, episode_seed: int) -> Clip:
        return Clip(self.frames[index], int(self.labels[index]))

    def target_centers(self, index: int) -> None:
        return None

    def video_name(self, index: int) -> str:
        return str(index)

    def identity(self) -> dict[str, Any]:
        return {"preprocessing": {}, "dataset": {}}


def published_networks(sizes: Sizes) -> tuple[Recognizer, GruActorCriticPolicy]:
    """Glancer, focuser, classifier and policy at the published sizes, with random weights."""
    torch.manual_seed(0)
    names = tuple(f"class {k}" for k in range(sizes.num_classes))
    config = RecognizerConfig(names, num_frames=sizes.num_frames, patch_size=sizes.patch_size)
    recognizer = Recognizer(config)
    freeze(recognizer)
    maps = spaces.Box(0.0, 6.0, recognizer.map_shape(), np.float32)
    policy = GruActorCriticPolicy(maps, spaces.Discrete(49), lambda _: 3e-4)
    return recognizer, policy


def needed_multiply_adds(
    recognizer: Recognizer, policy: GruActorCriticPolicy, sizes: Sizes, *, rewards: bool
) -> float:
    """Of N videos; with rewards the compared patches and their classification are part of it."""
    parts = multiply_adds(recognizer, policy)
    needed = sum(parts.values())
    if rewards:
        needed += parts["focuser"] + parts["classifier"]
    return needed * sizes.num_videos


def rollout_task(way: int) -> Function:
    """`rollout_play_vs_published`: ours or the published; actions and rewards of N episodes.

    Ours begins with the clips' bytes and includes their glances: playing begins the next episodes.
    The published loop is handed normalised clips.
    """
    sizes = Sizes()
    recognizer, policy = published_networks(sizes)
    videos = NoiseVideos(sizes, recognizer.config.frame_size)
    uniforms = torch.rand(sizes.num_videos, sizes.num_frames)
    if way == 0:
        env = PatchLocalizationVectorEnv.from_parts(recognizer, videos, num_envs=sizes.num_videos)
        env.reset(seed=0)

        @torch.no_grad()
        def run() -> object:
            distribution, _ = policy.evaluate_episodes(env.observe_episode())
            return env.play(inverse_cdf(distribution.probs, uniforms))

    else:
        loop = PublishedLoop(recognizer, policy)
        normal, labels = loop.normalize(videos.frames), torch.from_numpy(videos.labels)
        free = videos.frame_size - sizes.patch_size
        random_offsets = torch.randint(0, free, (*uniforms.shape, 2))

        def run() -> object:
            return loop.rollout(normal, labels, random_offsets, uniforms)

    needed = needed_multiply_adds(recognizer, policy, sizes, rewards=True)
    return Function(run, needed, frames=sizes.num_videos * sizes.num_frames)


def predict_task(way: int, *, amp: str = "none") -> Function:
    """`predict_vs_published`: ours from uint8 frames, the published loop from normalised ones."""
    sizes = Sizes()
    recognizer, policy = published_networks(sizes)
    frames = NoiseVideos(sizes, recognizer.config.frame_size).frames
    ours, loop = AdaFocus(recognizer, policy, amp=amp), PublishedLoop(recognizer, policy)
    normal = loop.normalize(frames)
    return Function(
        [lambda: ours.predict(frames), lambda: loop.predict(normal)][way],
        needed_multiply_adds(recognizer, policy, sizes, rewards=False),
        "bfloat16" if amp == "bf16" else "float32",
        sizes.num_videos * sizes.num_frames,
    )


def skip_task(way: int) -> Function:
    """`predict_skipping_half_vs_plain`: a policy that skips half of the frames, one that cannot.

    Random weights skip at random, so the most probable action of every second frame is overruled.
    """
    sizes = Sizes()
    recognizer, policy = published_networks(sizes)
    frames = NoiseVideos(sizes, recognizer.config.frame_size).frames
    skipping = GruActorCriticPolicy(policy.observation_space, spaces.Discrete(50), lambda _: 3e-4)
    whole, half = skipping.evaluate_episodes, torch.arange(sizes.num_frames) % 2 == 1

    def every_second(observations: Tensor) -> Any:
        distribution, values = whole(observations)
        logits = distribution.logits.clone()
        logits[:, half, -1], logits[:, ~half, -1] = torch.inf, -torch.inf
        return GridDistribution(logits=logits.nan_to_num(posinf=1e9, neginf=-1e9)), values

    skipping.evaluate_episodes = every_second
    model = AdaFocus(recognizer, [skipping, policy][way])
    return Function(lambda: model.predict(frames))


def crop_task(way: int) -> Function:
    """`crops_batched_vs_per_image`: 64 * 16 patches of normalised frames."""
    frames = torch.randn(64 * 16, 3, 224, 224)
    offsets = torch.randint(0, 224 - 128, (len(frames), 2))
    crop = [crop_patches, crop_one_by_one][way]
    return Function(lambda: crop(frames, offsets, 128))
