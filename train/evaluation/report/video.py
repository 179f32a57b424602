"""Policies side by side: an mp4 of some videos with each policy's patches, and one still."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from scipy.special import softmax

from adafocus_env.data import Videos
from adafocus_env.data.media.video_files import write_mp4
from adafocus_env.envs.active_rendering import beside, last_patch
from adafocus_env.envs.rendering import corners, draw_step
from adafocus_env.files import atomic_path
from adafocus_env.seeding import derive_episode_seed
from agents.evaluation import Evaluation

Image = npt.NDArray[np.uint8]

_SHOWN_VIDEOS = 10
FRAMES_PER_SECOND = 2.5
_STILL_STEPS = 4


def write_policy_video(
    folder: Path, videos: Videos, evaluations: Mapping[str, Evaluation], *, seed: int
) -> None:
    """Write `policies.mp4` and the still `policies.png`.

    Args:
        folder: where to write.
        videos: the evaluated split.
        evaluations: by policy name; the first draw of each video is shown.
        seed: of the evaluation.
    """
    count = min(_SHOWN_VIDEOS, len(videos))
    pictures = [side_by_side(videos, index, evaluations, seed=seed) for index in range(count)]
    frames = [frame for video in pictures for frame in video]
    write_mp4(folder / "policies.mp4", frames, FRAMES_PER_SECOND)
    still = _still(pictures[0], len(evaluations))
    _, png = cv2.imencode(".png", cv2.cvtColor(still, cv2.COLOR_RGB2BGR))
    with atomic_path(folder / "policies.png") as part:
        part.write_bytes(png.tobytes())


def side_by_side(
    videos: Videos,
    index: int,
    evaluations: Mapping[str, Evaluation],
    *,
    seed: int,
    columns: int | None = None,
) -> list[Image]:
    """The frames of one video, one panel a policy, from left to right.

    Args:
        videos: the evaluated split.
        index: of the video.
        evaluations: by policy name; the first draw of the video is shown.
        seed: of the evaluation.
        columns: panels next to each other, the others below; None puts all in one line.

    Returns:
        T pictures `(H, W, 3)` uint8 RGB of even sides.
    """
    clip = videos.clip(index, derive_episode_seed(seed, index, 0))
    frames = clip.frames.permute(0, 2, 3, 1).numpy()
    looks = max(1, max(seen.boxes.shape[1] for seen in evaluations.values()) // len(frames))
    class_name = videos.class_names[clip.label]
    pictures = []
    for look in range(len(frames) * looks):
        t, panels = look // looks, []
        frame = frames[t]
        for name, evaluation in evaluations.items():
            row = int(np.flatnonzero((evaluation.video_index == index) & (evaluation.draw == 0))[0])
            # A decision may serve several frames, or a frame be looked at several times.
            step = look * evaluation.boxes.shape[1] // (len(frames) * looks)
            shown = slice(0, step + 1)
            boxes = corners(evaluation.boxes[row, shown, :2], evaluation.focused()[row, shown])
            side = int(evaluation.boxes[..., 2].max())
            number = f"   look {look % looks + 1}/{looks}" if looks > 1 else ""
            panel = draw_step(
                frame,
                boxes,
                side,
                probabilities=softmax(evaluation.logits[row, step]),
                class_names=videos.class_names,
                label=clip.label,
                title=f"{name}   frame {t + 1}/{len(frames)}{number}   {class_name}",
            )
            panels.append(beside(panel, last_patch(frame, boxes, side)) if looks > 1 else panel)
        pictures.append(_arranged(_even(panels), columns or len(panels)))
    return pictures


def _arranged(panels: list[Image], columns: int) -> Image:
    """Panels line by line; the last line is filled up with black."""
    columns = min(columns, len(panels))
    panels = panels + [np.zeros_like(panels[0])] * (-len(panels) % columns)
    lines = [
        np.concatenate(panels[first : first + columns], axis=1)
        for first in range(0, len(panels), columns)
    ]
    return np.concatenate(lines)


def _even(panels: list[Image]) -> list[Image]:
    """mp4v needs even sides."""
    return [panel[: panel.shape[0] // 2 * 2, : panel.shape[1] // 2 * 2] for panel in panels]


def _still(pictures: list[Image], policies: int) -> Image:
    """A few steps of one video next to each other, the policies below each other, at half size."""
    steps = np.linspace(0, len(pictures) - 1, min(_STILL_STEPS, len(pictures))).round().astype(int)
    columns = []
    for step in steps:
        stacked = np.concatenate(np.split(pictures[step], policies, axis=1))
        columns.append(halved(stacked))
    return np.concatenate(columns, axis=1)


def halved(picture: Image) -> Image:
    """Half as wide and high."""
    size = (picture.shape[1] // 2, picture.shape[0] // 2)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


_MILLISECONDS = 1000


def gif_bytes(frames: Sequence[npt.NDArray[np.uint8]], frames_per_second: float) -> bytes:
    """An endlessly repeated GIF of RGB uint8 frames `(H, W, 3)`.

    Each frame has a palette of its own, of 256 colours. Durations are written in hundredths of a
    second; frames that equal the one before are kept, as a longer one.

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("a GIF needs at least one frame")
    pictures = [
        PilImage.fromarray(frame).quantize(256, method=PilImage.Quantize.MEDIANCUT)
        for frame in frames
    ]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=max(10, round(_MILLISECONDS / frames_per_second)),
        loop=0,
    )
    return file.getvalue()
