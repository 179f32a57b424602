"""The videos of a built-in task as clips, rendered in memory when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import Clip, dataset_identity, to_clip_tensor
from adafocus_env.data.glyphs.drawing import GlyphTask, Rendered
from adafocus_env.data.glyphs.localization import GLYPHS
from adafocus_env.data.sampling.segments import fixed_sampling
from adafocus_env.data.sampling.shift import sampling_rules
from adafocus_env.seeding import Purpose, episode_rng


class GlyphVideos:
    """The built-in videos of one split, without a codec.

    Attributes:
        task: which they are.
        split_seed: with a video's index it decides what is in it.

    Args:
        split: `"train"` (800 videos), `"val"` (250) or `"test"` (500).
        num_frames: T, frames of a clip out of the video's 16; a still picture repeats its only one.
        num_glance_frames: frames of a clip for the glancer alone, None for none.
        frame_sampling: key of `sampling_rules`.
        task: which built-in task; the sizes of the splits are those of `"glyphs"`.
        keep: keep what has been rendered in memory, 0.6 MB a video of 16 frames.
    """

    def __init__(
        self,
        split: str = "val",
        *,
        num_frames: int = 8,
        num_glance_frames: int | None = None,
        frame_sampling: str = "center",
        task: GlyphTask = GLYPHS,
        keep: bool = False,
    ):
        if split not in task.splits:
            raise ValueError(
                f"the built-in videos have the splits {', '.join(task.splits)}, not {split!r}"
            )
        self.task = task
        self._kept: dict[int, Rendered] | None = {} if keep else None
        self.split_seed, count = task.splits[split]
        self._sampling = frame_sampling
        rules = sampling_rules(num_glance_frames)
        self._sample_frames = rules[frame_sampling]
        self._sample_targets = rules[fixed_sampling(frame_sampling)]
        self.class_names = task.class_names
        self.labels = np.arange(count, dtype=np.int64) % len(self.class_names)
        self.label_sets: tuple[tuple[int, ...], ...] = tuple((int(label),) for label in self.labels)
        self.num_frames = num_frames
        self.num_glance_frames = num_glance_frames
        self.frame_size = task.frame_size

    def __len__(self) -> int:
        """The number of videos of the split."""
        return len(self.labels)

    def clip(self, index: int, episode_seed: int) -> Clip:
        """Render video `index` and keep the frames that the episode seed chooses."""
        frames, label, _ = self._render(index)
        rng = episode_rng(episode_seed, Purpose.FRAMES)
        chosen = self._sample_frames(self.task.video_frames, self.num_frames, rng)
        seen = None
        if self.num_glance_frames is not None:
            seen = to_clip_tensor(
                frames[self._sample_frames(self.task.video_frames, self.num_glance_frames, rng)]
            )
        return Clip(to_clip_tensor(frames[chosen]), label, seen)

    def target_centers(self, index: int) -> npt.NDArray[np.float32]:
        """`(T, 2)` (row, col) of the target in the frames that evaluation chooses."""
        _, _, centers = self._render(index)
        rng = np.random.default_rng(0)  # fixed rules draw nothing from it
        return centers[self._sample_targets(self.task.video_frames, self.num_frames, rng)]

    def _render(self, index: int) -> Rendered:
        if self._kept is None:
            return self.task.render(self.split_seed, index)
        if index not in self._kept:
            self._kept[index] = self.task.render(self.split_seed, index)
        return self._kept[index]

    def video_name(self, index: int) -> str:
        """Its number."""
        return f"built-in video {index} of split seed {self.split_seed}"

    def identity(self) -> dict[str, Any]:
        """See `Videos.identity`; the task and the split's seed decide what is rendered."""
        videos = [(self.split_seed, index, int(label)) for index, label in enumerate(self.labels)]
        glances = (
            {} if self.num_glance_frames is None else {"num_glance_frames": self.num_glance_frames}
        )
        return {
            "preprocessing": {
                "media": self.task.media,
                "num_frames": self.num_frames,
                "frame_size": self.frame_size,
                "sampling": self._sampling,
                **glances,
            },
            "dataset": dataset_identity(videos, self.class_names),
        }
