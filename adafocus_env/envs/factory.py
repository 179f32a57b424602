"""From arguments that JSON can write to a `PatchLocalizationCore`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from adafocus_env.data.catalog import VideoOptions, open_videos
from adafocus_env.data.clips import Videos
from adafocus_env.envs.actions import PatchGrid, make_locations
from adafocus_env.envs.arguments import arguments_of
from adafocus_env.envs.core import PatchLocalizationCore
from adafocus_env.envs.skip_cost import DEFAULT_SKIP_COST, SkipCost
from adafocus_env.features.bank import FeatureBank, open_bank
from adafocus_env.features.bank_features import BankFeatures
from adafocus_env.features.live import LiveFeatures
from adafocus_env.features.source import FeatureSource
from adafocus_env.networks.loading import AnyRecognizer, load_recognizer
from adafocus_env.shipped import shipped_recognizer
from adafocus_env.values import FrameRate, Frames, Processes


def choose_device(device: str) -> torch.device:
    """`"auto"` is a GPU where there is one, else the CPU; `"cpu"`, `"cuda"` or `"cuda:N"`.

    Raises:
        ValueError: no device of that name, or no such GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if re.fullmatch("cpu|cuda(:[0-9]{1,4})?", device) is None:
        raise ValueError(f"unknown device {device!r}; use auto, cpu, cuda or cuda:1")
    chosen = torch.device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        found = f"GPUs 0 to {count - 1}" if count else "no GPU"
        cure = "one of them" if count else "auto or cpu"
        raise ValueError(f"device {device!r} was asked for, but torch finds {found}; use {cure}")
    return chosen


if hasattr(os, "register_at_fork"):
    # Gymnasium's AsyncVectorEnv makes one environment, then forks. A forked child that inherits
    # torch's started thread pool waits for threads that do not exist in it.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def make_core(
    *,
    num_rows: int,
    dataset: str = "glyphs",
    split: str = "val",
    data_dir: str | Path | None = None,
    lists: dict[str, Any] | None = None,
    media: str | None = None,
    frame_rate: FrameRate | None = None,
    augment: bool | None = None,
    crop: bool = True,
    flip: bool = True,
    crops: Literal["same", "independent"] = "same",
    recognizer: str | Path | None = None,
    num_frames: Frames | None = None,
    device: str = "auto",
    features: str = "live",
    **rules: Any,
) -> PatchLocalizationCore:
    """Load a recognizer and open a split; see `PatchLocalizationEnv` for the arguments."""
    bank = open_bank(features, split)
    folder = shipped_recognizer(dataset) if recognizer is None else Path(recognizer)
    loaded = load_recognizer(folder, device=choose_device(device))
    options = VideoOptions(
        num_frames=loaded.config.num_frames if num_frames is None else num_frames,
        frame_size=loaded.config.frame_size,
        augment=split == "train" if augment is None else augment,
        crop=crop,
        flip=flip,
        media=media,
        frame_rate=frame_rate,
        num_glance_frames=loaded.num_glance_frames,
        crops=crops,
    )
    videos = open_videos(dataset, split, options, data_dir=data_dir, lists=lists)
    return make_core_from_parts(loaded, videos, num_rows=num_rows, bank=bank, **rules)


def make_core_from_parts(
    recognizer: AnyRecognizer,
    videos: Videos,
    *,
    num_rows: int,
    video_div: Frames | None = None,
    locations: Literal["grid", "continuous", "skip"] = "grid",
    grid_size: int = 7,
    patch_size: int | None = None,
    observation: Literal["map", "vector"] = "map",
    reward: str = "random",
    baseline_positions: Literal["pixel", "grid"] = "pixel",
    skip_cost: float | Literal["random"] | None = None,
    bank: FeatureBank | None = None,
    bank_device: Literal["auto", "cpu", "cuda"] = "auto",
    amp: Literal["none", "bf16", "fp16"] = "none",
    compile: bool = False,  # noqa: A002  # the name users know
    num_workers: Processes = 0,
) -> PatchLocalizationCore:
    """The core over networks and videos, and perhaps a bank, that are already there."""
    recognizer = recognizer.divided(video_div)
    config = recognizer.config
    grid = PatchGrid(
        grid_size, config.frame_size, config.patch_size if patch_size is None else patch_size
    )
    source: FeatureSource
    if bank is None:
        source = LiveFeatures(
            recognizer,
            videos,
            patch_size=patch_size,
            observation=observation,
            amp=amp,
            compile=compile,
            num_workers=num_workers,
        )
    else:
        _require_grid(locations, baseline_positions)
        if amp != "none" or compile:
            raise ValueError(
                "amp and compile are for the networks, and a bank's features were computed by them "
                "before, in float32; leave amp=none and compile=False, or use features='live'"
            )
        source = BankFeatures(
            recognizer,
            videos,
            bank,
            positions=grid.all_offsets(),
            patch_size=patch_size,
            observation=observation,
            bank_device=bank_device,
        )
    if skip_cost is not None and locations != "skip":
        raise ValueError(
            f"skip_cost={skip_cost!r} is for actions that can skip; use locations='skip', or leave "
            "it out"
        )
    cost = DEFAULT_SKIP_COST if skip_cost is None else skip_cost
    return PatchLocalizationCore(
        source,
        make_locations(locations, grid),
        grid,
        num_rows=num_rows,
        reward=reward,
        baseline_positions=baseline_positions,
        skip_cost=SkipCost(cost) if locations == "skip" else None,
    )


def observation_space(core: PatchLocalizationCore) -> spaces.Space[npt.NDArray[np.float32]]:
    """`Box(0, bound, (C, h, w) or (C,), float32)` of one row."""
    return spaces.Box(0.0, core.source.observation_bound, core.observation_shape, np.float32)


def _require_grid(locations: str, baseline_positions: str) -> None:
    """Refuse rules that look beside the grid.

    Raises:
        ValueError: the message names the cure.
    """
    if baseline_positions == "pixel":
        raise ValueError(
            "a feature bank holds grid positions only, and baseline_positions='pixel' draws random "
            "patches at any pixel; use baseline_positions='grid', or features='live'"
        )
    if locations == "continuous":
        raise ValueError(
            "a feature bank holds grid positions only; use locations='grid', or features='live'"
        )


# The arguments of `from_parts` and of `make` with their types, as the two functions above say them.
RULES = {**arguments_of(make_core_from_parts), "bank": Any}
ARGUMENTS = {**arguments_of(make_core), **RULES}
for _name in ("num_rows", "bank"):
    del ARGUMENTS[_name]
del RULES["num_rows"]
