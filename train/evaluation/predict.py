"""`adafocus predict`: the most probable classes of unlabelled videos, and the policy's looks."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage
from rich.table import Table
from rich.text import Text
from torch import Tensor

from adafocus_env.data.media.video_files import find_videos
from adafocus_env.envs.rendering import Image, corners, draw_step
from adafocus_env.files import atomic_path, write_json
from adafocus_env.folders import make_folder
from agents.file_predictions import FilePrediction, predict_files
from agents.inference import AdaFocus
from train.config.keys import ConfigError
from train.config.tools import PredictConfig
from train.evaluation.record import write_pictures
from train.runs.progress import ProgressDisplay
from train.runs.saved_config import saved_config

TOP = 5
TABLE_FILE, JSON_FILE, LOOKS_FOLDER = "predictions.csv", "predictions.json", "looks"
_SHOWN = 20  # videos in the printed table
_COLUMNS = 4  # frames of a picture next to each other


def run_predict(config: PredictConfig, display: ProgressDisplay) -> None:
    """Print the answers and write them to the run folder.

    Raises:
        ConfigError: there is no input, no run, or some videos cannot be read (the others are done
            then).
    """
    paths = _videos(Path(config.need("input")))
    _check_as_trained(config)
    if isinstance(config.skip_cost, str):
        raise ConfigError("skip_cost=random is for stage2; name a cost, such as skip_cost=0.01")
    try:
        model = AdaFocus.load(
            config.need("resume"), device=config.device, skip_cost=config.skip_cost
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"resume={config.resume} holds no recognizer and policy: {error}"
        ) from error
    options = model.clip_options(
        fit=config.fit, frame_rate=config.frame_rate, decode_timeout=config.decode_timeout
    )
    found: list[FilePrediction] = []
    with display.part("predict", len(paths)) as progress:
        for prediction, frames in predict_files(model, paths, options):
            found.append(prediction)
            if config.looks != "none" and frames is not None:
                _draw(config, prediction, frames, model.recognizer.config.patch_size)
            progress.advance()
    _show(config, found, display)
    _write(config, found)
    display.say(f"all of them: {config.output_dir / TABLE_FILE} and {JSON_FILE} beside it")
    failed = [one for one in found if one.error is not None]
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(found)} videos cannot be read, the first with: "
            f"{failed[0].error}; all of them are in {config.output_dir / JSON_FILE}"
        )


def _check_as_trained(config: PredictConfig) -> None:
    """Refuse frames that are made otherwise than those the networks learned from."""
    saved = saved_config(Path(config.need("resume"))) or {}
    for name in ("fit", "frame_rate"):
        given, trained = getattr(config, name), saved.get(name, getattr(config, name))
        if given != trained:
            shown = "null" if trained is None else trained
            raise ConfigError(
                f"{name}={'null' if given is None else given}, but {config.resume} was trained "
                f"with {name}={shown}; give that"
            )


def _videos(source: Path) -> list[Path]:
    if not source.is_dir():
        if not source.exists():
            raise ConfigError(f"input={source} does not exist; it is a video or a folder of videos")
        return [source]
    videos = find_videos(source).videos
    if not videos:
        raise ConfigError(f"input={source} holds no video")
    return videos


def _draw(config: PredictConfig, prediction: FilePrediction, clip: Tensor, patch_size: int) -> None:
    """The frames with the patches, as `record` draws them, into `looks/`."""
    frames = clip.permute(0, 2, 3, 1).numpy()
    boxes = corners(prediction.boxes[:, :2], prediction.boxes[:, 2] > 0)
    pictures = [
        draw_step(
            frame,
            boxes[: step + 1],
            patch_size,
            probabilities=prediction.probabilities[step],
            class_names=prediction.class_names,
            label=None,
            title=f"{prediction.path.name}   frame {step + 1}/{len(frames)}",
        )
        for step, frame in enumerate(frames)
    ]
    name = f"{_name(config, prediction)}.{config.looks}"
    target = config.output_dir / LOOKS_FOLDER / name
    make_folder(target.parent)
    if config.looks == "png":
        with atomic_path(target) as part:
            PilImage.fromarray(_sheet(pictures)).save(part, format="PNG")
    else:
        write_pictures(target, pictures, fps=config.fps)


def _name(config: PredictConfig, prediction: FilePrediction) -> str:
    """The path below the input."""
    source = Path(config.need("input"))
    return str(prediction.path.relative_to(source if source.is_dir() else source.parent))


def _sheet(pictures: Sequence[Image]) -> Image:
    """All frames in one picture, line by line; the last line is filled up with black."""
    columns = min(_COLUMNS, len(pictures))
    filled = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    lines = [
        np.concatenate(filled[i : i + columns], axis=1) for i in range(0, len(filled), columns)
    ]
    return np.concatenate(lines)


def _show(config: PredictConfig, found: Sequence[FilePrediction], display: ProgressDisplay) -> None:
    table = Table()
    table.add_column("video", overflow="fold")
    table.add_column("confidence and class")
    table.add_column("G multiply-adds", justify="right")
    for one in found[:_SHOWN]:
        answers = "\n".join(f"{confidence:.3f}  {name}" for name, confidence in one.top(TOP))
        cost = "" if one.error else f"{one.multiply_adds / 1e9:.2f}"
        table.add_row(Text(_name(config, one)), Text(one.error or answers), cost)
    display.console.print(table)
    if len(found) > _SHOWN:
        display.say(f"and {len(found) - _SHOWN} more videos")


def _write(config: PredictConfig, found: Sequence[FilePrediction]) -> None:
    header = [
        "video",
        *(f"{kind}_{k}" for k in range(1, TOP + 1) for kind in ("class", "confidence")),
    ]
    with (
        atomic_path(config.output_dir / TABLE_FILE) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow([*header, "multiply_adds", "error"])
        for one in found:
            cells = [cell for name, value in one.top(TOP) for cell in (name, f"{value:.6f}")]
            cells += [""] * (2 * TOP - len(cells))
            rows.writerow([one.path, *cells, round(one.multiply_adds), one.error or ""])
    write_json(
        config.output_dir / JSON_FILE,
        {"resume": str(config.resume), "videos": [_plain(one) for one in found]},
    )


def _plain(one: FilePrediction) -> dict[str, Any]:
    return {
        "video": str(one.path),
        "classes": [{"name": name, "confidence": value} for name, value in one.top(TOP)],
        "multiply_adds": round(one.multiply_adds),
        "patches": one.boxes.tolist(),
        "error": one.error,
    }
