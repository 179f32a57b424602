"""What the report's player shows: frames as JPEG, and every policy's looks on them, as JSON."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from adafocus_env.data import Videos
from adafocus_env.seeding import derive_episode_seed
from agents.evaluation import Evaluation
from train.config.keys import ConfigError

log = logging.getLogger(__name__)

_SHOWN_VIDEOS = 12
_TOP_CLASSES = 5
_JPEG_QUALITY = 85
# Characters of all frames together; with figures and tables the page stays under 20 MB.
_FRAME_BUDGET = 14_000_000


def choose_videos(num_videos: int, chosen: Sequence[int] | None) -> list[int]:
    """Videos for the player: the named ones, else up to 12, evenly spread over the split.

    Raises:
        ConfigError: one is not in the split.
    """
    if chosen is None:
        spread = np.linspace(0, num_videos - 1, min(_SHOWN_VIDEOS, num_videos)).round()
        return sorted({int(index) for index in spread})
    wrong = [index for index in chosen if not 0 <= index < num_videos]
    if wrong or not chosen:
        raise ConfigError(
            f"player_videos={list(chosen)}: name some of 0..{num_videos - 1}, the split's videos"
        )
    return list(dict.fromkeys(chosen))


def player_data(
    videos: Videos,
    evaluations: Mapping[str, Evaluation],
    chosen: Sequence[int],
    *,
    seed: int,
    frame_budget: int = _FRAME_BUDGET,
) -> dict[str, Any]:
    """All that the player knows, of JSON types.

    Args:
        videos: the evaluated split.
        evaluations: by policy name; the first draw or checkpoint is shown.
        chosen: indices of the videos.
        seed: of the evaluation.
        frame_budget: characters that all frames may take; videos beyond it are left out, with a
            warning, but one is always shown.

    Returns:
        `class_names`, `frame_size`, `policies` (names), `left_out` (videos), and `videos`: each
        with `index`, `label`, `frames` (T data URIs, one a decision; where it serves several
        frames, the middle one) and `looks`, one entry a policy with `boxes` (T of top, left, side;
        side 0 in skipped frames), `confidences` (T), `rewards` (T) and `top` (T lists of class and
        probability).
    """
    shown: list[dict[str, Any]] = []
    spent = 0
    for index in chosen:
        clip = videos.clip(index, derive_episode_seed(seed, index, 0))
        looks = [_looks(evaluation, index) for evaluation in evaluations.values()]
        decisions = len(looks[0]["boxes"])
        each = max(1, len(clip.frames) // decisions)
        middles = clip.frames[each // 2 :: each].permute(0, 2, 3, 1).numpy()
        pictures = [_jpeg(frame) for frame in middles]
        # Of several looks at a frame each shows it.
        frames = [picture for picture in pictures for _ in range(decisions // len(pictures))]
        spent += sum(map(len, frames))
        if shown and spent > frame_budget:
            break
        shown.append({"index": index, "label": clip.label, "frames": frames, "looks": looks})
    left_out = list(chosen[len(shown) :])
    if left_out:
        log.warning(
            "the report's player leaves out videos %s: their frames take too much", left_out
        )
    return {
        "class_names": list(videos.class_names),
        "frame_size": videos.frame_size,
        "policies": list(evaluations),
        "left_out": left_out,
        "videos": shown,
    }


def _looks(evaluation: Evaluation, index: int) -> dict[str, Any]:
    row = int(np.flatnonzero((evaluation.video_index == index) & (evaluation.draw == 0))[0])
    probabilities = softmax(evaluation.logits[row].astype(np.float64), axis=1)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP_CLASSES]
    return {
        "boxes": evaluation.boxes[row, :, :3].tolist(),
        "confidences": evaluation.confidences[row].round(4).tolist(),
        "rewards": evaluation.rewards[row].round(4).tolist(),
        "top": [
            [[int(k), round(float(line[k]), 4)] for k in best]
            for line, best in zip(probabilities, order, strict=True)
        ],
    }


def _jpeg(frame: npt.NDArray[np.uint8]) -> str:
    picture = np.ascontiguousarray(frame[..., ::-1])  # OpenCV wants BGR
    ok, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not ok:
        raise ValueError("OpenCV could not encode a frame as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
