"""What recognizer and policy make of video files that nobody has labelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from adafocus_env.data import ListedVideos, VideoError, VideoOptions
from adafocus_env.data.lists.list_files import VideoRecord
from adafocus_env.data.media.stall import watched
from adafocus_env.data.media.video_files import VideoFileReader

if TYPE_CHECKING:
    from agents.inference import AdaFocus


@dataclass(frozen=True)
class FilePrediction:
    """What one video shows, as the recognizer sees it.

    Attributes:
        path: the file.
        class_names: K names.
        probabilities: `(T, K)` after every frame; the last are the answer. Empty if it failed.
        boxes: `(T, 4)`: where the patches are, (top, left, height, width) in pixels of the square
            frames that the networks see; zeros in skipped frames.
        multiply_adds: that the networks needed.
        error: why the file cannot be read; None if it can.
    """

    path: Path
    class_names: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.int64]
    multiply_adds: float = 0.0
    error: str | None = None

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes with their confidences, 0..1, the best first."""
        if not len(self.probabilities):
            return []
        answer = self.probabilities[-1]
        best = np.argsort(-answer, kind="stable")[:count]
        return [(self.class_names[k], float(answer[k])) for k in best]


def predict_files(
    model: AdaFocus, paths: Iterable[str | Path], options: VideoOptions
) -> Iterator[tuple[FilePrediction, Tensor | None]]:
    """Classify files one after the other, as evaluation samples and cuts its videos.

    Args:
        model: recognizer and policy.
        paths: video files.
        options: how clips are made; not augmented.

    Yields:
        a prediction for each path, in their order, and the frames `(T, 3, S, S)` uint8 that it is
        of; None if they cannot be read.
    """
    names = tuple(model.recognizer.config.class_names)
    for path in map(Path, paths):
        try:
            frames = read_clip(path, options)
        except (VideoError, OSError) as error:
            nothing = np.zeros((0, len(names)), np.float32)
            failed = FilePrediction(path, names, nothing, np.zeros((0, 4), int), error=str(error))
            yield failed, None
            continue
        logits, origins, boxes = model.predict_boxes(frames[None])
        prediction = FilePrediction(
            path,
            names,
            logits[0].float().softmax(dim=-1).cpu().numpy(),
            boxes[0].cpu().numpy(),
            float(model.multiply_adds(origins)[0]),
        )
        yield prediction, frames


def read_clip(path: Path, options: VideoOptions) -> Tensor:
    """The frames of a video file that evaluation would see, uint8 `(T, 3, S, S)`.

    Raises:
        VideoError: the file cannot be read.
    """
    reader = VideoFileReader(
        path.parent.resolve(),
        options.frame_rate,
        decode_timeout=options.decode_timeout,
        index_folder=options.index_folder,
    )
    path = reader.find(path.parent.resolve() / path.name)
    count = watched(path, options.decode_timeout, lambda: reader.open(path).num_frames)
    videos = ListedVideos(
        [VideoRecord(path, count, labels=(0,))],  # a clip needs a label; nobody reads it
        ("unknown",),
        reader,
        num_frames=options.num_frames,
        transform=options.transform,
        frame_sampling=options.sampling,
    )
    return videos.clip(0, episode_seed=0).frames
