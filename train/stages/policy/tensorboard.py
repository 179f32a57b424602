"""What TensorBoard shows of a policy in training: reward parts, where it looks, an episode."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import (
    Image,
    Logger,
    TensorBoardOutputFormat,
    make_output_format,
)
from tensorboard.compat.proto.summary_pb2 import Summary

from adafocus_env.data import VideoError, Videos
from adafocus_env.envs import PatchGrid
from adafocus_env.folders import make_folder
from agents.evaluation import Evaluation
from train.evaluation.diagnostics import entropy_bits, nearest_positions
from train.evaluation.report.video import FRAMES_PER_SECOND, gif_bytes, halved, side_by_side

log = logging.getLogger(__name__)

_SHOWN = ("confidence", "baseline_confidence", "patch_box")
_CELL = 24  # pixels of a grid position in the heat map
_PICTURES_ONLY = ("stdout", "log", "json", "csv")  # what SB3's other outputs cannot write


@dataclass(frozen=True)
class Gif:
    """A value of SB3's logger: an animation.

    Attributes:
        content: as of `gif_bytes`.
        height: in pixels.
        width: likewise.
    """

    content: bytes
    height: int
    width: int


class TensorBoardWithGifs(TensorBoardOutputFormat):
    """SB3's TensorBoard output that also takes `Gif` values.

    SB3's own `Video` goes through moviepy, which a run need not have, and PyTorch calls a module
    that moviepy 2 no longer has.
    """

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write one step's values."""
        for key, value in key_values.items():
            if isinstance(value, Gif):
                image = Summary.Image(
                    height=value.height,
                    width=value.width,
                    colorspace=3,
                    encoded_image_string=value.content,
                )
                summary = Summary(value=[Summary.Value(tag=key, image=image)])
                self.writer._get_file_writer().add_summary(summary, step)
        super().write(key_values, key_excluded, step)


def make_logger(folder: Path | None, *, continuing: bool) -> Logger:
    """Events and `progress.csv` in a folder; a continued run's table is `progress_2.csv`, ...

    Args:
        folder: made if missing; None, in all processes but the main one, writes nothing.
        continuing: whether the table that is there must stay.
    """
    if folder is None:
        return Logger(folder=None, output_formats=[])
    make_folder(folder)
    earlier = len(list(folder.glob("progress*.csv"))) if continuing else 0
    suffix = f"_{earlier + 1}" if earlier else ""
    outputs = [TensorBoardWithGifs(str(folder)), make_output_format("csv", str(folder), suffix)]
    return Logger(folder=str(folder), output_formats=outputs)


class RolloutLooks(BaseCallback):
    """Reward parts of every rollout, and where training looks between two evaluations.

    It sees the `infos` that SB3's algorithms and `GruPPO` show any callback at each step. With
    several processes these are the main one's rows.

    Args:
        grid: looks elsewhere count for the nearest position.
    """

    def __init__(self, grid: PatchGrid):
        super().__init__()
        self._grid = grid
        self._infos: list[dict[str, Any]] = []
        self._counts = np.zeros(grid.num_actions, dtype=np.int64)

    def _on_step(self) -> bool:
        for info in self.locals.get("infos", ()):
            if "patch_box" in info:  # those of other environments say nothing
                self._infos.append({name: info[name] for name in _SHOWN})
        return True

    def _on_rollout_end(self) -> None:
        if not self._infos:
            return
        for name in _SHOWN[:2]:
            mean = np.mean([info[name] for info in self._infos])
            self.logger.record_mean(f"rollout/{name}", float(mean))
        boxes = np.stack([info["patch_box"] for info in self._infos])
        positions = nearest_positions(boxes[:, None], self._grid)
        self._counts += np.bincount(positions.ravel(), minlength=self._grid.num_actions)
        self._infos.clear()

    def record_locations(self) -> None:
        """Entropy and heat map of the looks since the last call."""
        if self._counts.any():
            record_locations(self.logger, "rollout", self._counts)
        self._counts[:] = 0


def record_locations(logger: Logger, group: str, counts: npt.NDArray[np.int64]) -> None:
    """Entropy in bits and a heat map of looks.

    Args:
        logger: SB3's.
        group: first part of the names, `"rollout"` or `"val"`.
        counts: `(A,)` looks at each position of a square grid.
    """
    entropy = entropy_bits(counts / counts.sum())
    logger.record(f"{group}/location_entropy_bits", entropy)
    picture = Image(heat_map(counts), "HWC")
    logger.record(f"{group}/locations", picture, exclude=_PICTURES_ONLY)


def heat_map(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """`(S, S, 3)` RGB: each grid position a square, the most looked at yellow, none dark blue."""
    size = int(np.sqrt(len(counts)))
    shares = counts.reshape(size, size) / max(int(counts.max()), 1)
    colors = matplotlib.colormaps["viridis"](shares, bytes=True)[..., :3]
    picture: npt.NDArray[np.uint8] = colors.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    return picture


class EpisodePictures:
    """Draws the policy's episode on one validation video, now and then, always the same video.

    Where the video cannot be read, as beside a bank that was brought without it, a warning says so
    and nothing is drawn any more: training goes on.

    Args:
        videos: the validation split.
        frequency: epochs between two of them; 0 draws none.
        epochs: in all; the last evaluation is drawn, too.
    """

    def __init__(self, videos: Videos, frequency: int, epochs: int):
        self._videos = videos
        self._frequency = frequency
        self._epochs = epochs

    def record(self, logger: Logger, evaluation: Evaluation, before: int, epoch: int) -> None:
        """Draw the first video of an evaluation, if it is time.

        Args:
            logger: SB3's.
            evaluation: of the policy after `epoch`, with seed 0.
            before: the epoch of the evaluation before.
            epoch: how many are done.
        """
        every = self._frequency
        if not every or (epoch // every == before // every and epoch != self._epochs):
            return
        index = int(evaluation.video_index[0])
        try:
            frames = side_by_side(self._videos, index, {f"epoch {epoch}": evaluation}, seed=0)
        except (VideoError, OSError) as error:
            self._frequency = 0
            log.warning("TensorBoard gets no videos of episodes, because %s", error)
            return
        frames = [halved(frame) for frame in frames]
        height, width = frames[0].shape[:2]
        gif = Gif(gif_bytes(frames, FRAMES_PER_SECOND), height, width)
        logger.record("val/episode", gif, exclude=_PICTURES_ONLY)
