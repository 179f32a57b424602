"""From arguments that JSON can write to a `PatchLocalizationCore`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from adafocus_env.data.catalog import VideoOptions, open_videos
from adafocus_env.data.clips import Videos
from adafocus_env.envs.actions import GridOrStop, PatchGrid, make_locations
from adafocus_env.envs.arguments import keywords_of
from adafocus_env.envs.closed_loop import OBSERVATIONS, ActiveVisionCore, LoopCosts
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.open_loop import PatchLocalizationCore
from adafocus_env.envs.skip_cost import DEFAULT_SKIP_COST, SkipCost, check_look_cost
from adafocus_env.features.bank import FeatureBank, open_bank
from adafocus_env.features.bank_features import BankFeatures
from adafocus_env.features.judges import Judges
from adafocus_env.features.live import LiveFeatures
from adafocus_env.features.source import FeatureSource
from adafocus_env.networks.costs import recognizer_costs
from adafocus_env.networks.loading import AnyRecognizer, load_recognizer
from adafocus_env.shipped import shipped_recognizer
from adafocus_env.values import Count, FrameRate, Frames, Processes, Side

C = TypeVar("C", bound=EpisodeCore)


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
    build: Callable[..., C],
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
    fit: Literal["crop", "squash", "pad"] = "crop",
    flip: bool = True,
    crops: Literal["same", "independent"] = "same",
    recognizer: str | Path | None = None,
    num_frames: Frames | None = None,
    device: str = "auto",
    features: str = "live",
    **rules: Any,
) -> C:
    """Load a recognizer and open a split; see `PatchLocalizationEnv` for the arguments.

    `build` is one of the functions below, which takes the `rules`.
    """
    bank = open_bank(features, split)
    folder = shipped_recognizer(dataset) if recognizer is None else Path(recognizer)
    loaded = load_recognizer(folder, device=choose_device(device))
    options = VideoOptions(
        num_frames=loaded.config.num_frames if num_frames is None else num_frames,
        frame_size=loaded.config.frame_size,
        augment=split == "train" if augment is None else augment,
        crop=crop,
        fit=fit,
        flip=flip,
        media=media,
        frame_rate=frame_rate,
        num_glance_frames=loaded.num_glance_frames,
        crops=crops,
    )
    videos = open_videos(dataset, split, options, data_dir=data_dir, lists=lists)
    return build(loaded, videos, num_rows=num_rows, bank=bank, **rules)


def make_core_from_parts(
    recognizer: AnyRecognizer,
    videos: Videos,
    *,
    num_rows: int,
    video_div: Frames | None = None,
    locations: Literal["grid", "continuous", "skip"] = "grid",
    grid_size: int = 7,
    patch_size: int | None = None,
    focus_size: Side | None = None,
    observation: Literal["map", "vector"] = "map",
    reward: str = "random",
    baseline_positions: Literal["pixel", "grid"] = "pixel",
    skip_cost: float | Literal["random"] | None = None,
    bank: FeatureBank | None = None,
    judges: Judges | None = None,
    bank_device: Literal["auto", "cpu", "cuda"] = "auto",
    amp: Literal["none", "bf16", "fp16"] = "none",
    compile: bool = False,  # noqa: A002  # the name users know
    num_workers: Processes = 0,
) -> PatchLocalizationCore:
    """The core over networks and videos, perhaps a bank and judges, that are already there."""
    recognizer = recognizer.divided(video_div)
    grid = _grid(recognizer, grid_size, patch_size)
    source = _open_source(
        recognizer,
        videos,
        grid,
        bank,
        locations=locations,
        baseline_positions=baseline_positions,
        observation=observation,
        bank_device=bank_device,
        amp=amp,
        compile=compile,
        num_workers=num_workers,
        focus_size=focus_size,
        judges=judges,
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


def make_active_core(
    recognizer: AnyRecognizer,
    videos: Videos,
    *,
    num_rows: int,
    video_div: Frames | None = None,
    looks_per_frame: Count = 1,
    stop: bool = False,
    locations: Literal["grid", "continuous"] = "grid",
    grid_size: int = 7,
    patch_size: int | None = None,
    observation: str | Sequence[str] = OBSERVATIONS,
    patch_pixels: bool = False,
    reward: str = "information",
    look_cost: float = 0.0,
    baseline_positions: Literal["pixel", "grid"] = "grid",
    bank: FeatureBank | None = None,
    judges: Judges | None = None,
    bank_device: Literal["auto", "cpu", "cuda"] = "auto",
    amp: Literal["none", "bf16", "fp16"] = "none",
    compile: bool = False,  # noqa: A002  # the name users know
    num_workers: Processes = 0,
) -> ActiveVisionCore:
    """The core of a closed loop; see `ActiveVisionEnv` for the arguments."""
    recognizer = recognizer.divided(video_div)
    grid = _grid(recognizer, grid_size, patch_size)
    if locations not in ("grid", "continuous"):
        raise ValueError(
            f"locations is 'grid' or 'continuous' here, not {locations!r}; stop=True adds an action"
        )
    if stop and locations == "continuous":
        raise ValueError(
            "stop=True adds an action to those of a grid, and continuous places have none to add "
            "it to; use locations='grid', or leave stop=False"
        )
    if patch_pixels and bank is not None:
        raise ValueError(
            "patch_pixels=True shows pixels, and a feature bank holds none; use features='live', "
            "or leave patch_pixels=False"
        )
    source = _open_source(
        recognizer,
        videos,
        grid,
        bank,
        locations=locations,
        baseline_positions=baseline_positions,
        observation="map",
        bank_device=bank_device,
        amp=amp,
        compile=compile,
        num_workers=num_workers,
        judges=judges,
    )
    each = recognizer_costs(recognizer.config, grid.patch_size)
    patches = each.patch * recognizer.focus_group
    return ActiveVisionCore(
        source,
        GridOrStop(grid) if stop else make_locations(locations, grid),
        grid,
        num_rows=num_rows,
        looks_per_frame=looks_per_frame,
        observation=observation,
        patch_pixels=patch_pixels,
        reward=reward,
        baseline_positions=baseline_positions,
        skip_cost=SkipCost(check_look_cost(look_cost)),
        costs=LoopCosts(each.glance * recognizer.glances_per_decision, patches + each.decision),
    )


def _grid(recognizer: AnyRecognizer, grid_size: int, patch_size: int | None) -> PatchGrid:
    config = recognizer.config
    return PatchGrid(
        grid_size, config.frame_size, config.patch_size if patch_size is None else patch_size
    )


def _open_source(
    recognizer: AnyRecognizer,
    videos: Videos,
    grid: PatchGrid,
    bank: FeatureBank | None,
    *,
    locations: str,
    baseline_positions: str,
    observation: str,
    bank_device: str,
    amp: str,
    compile: bool,  # noqa: A002  # the name users know
    num_workers: int,
    focus_size: Side | None = None,
    judges: Judges | None = None,
) -> FeatureSource:
    """The features of the grid's patches, from the networks or from a bank."""
    if bank is None:
        return LiveFeatures(
            recognizer,
            videos,
            patch_size=grid.patch_size,
            focus_size=focus_size,
            judges=judges,
            observation=observation,
            amp=amp,
            compile=compile,
            num_workers=num_workers,
        )
    _require_grid(locations, baseline_positions)
    if focus_size is not None:
        raise ValueError(
            "focus_size is for the focuser, whose features a bank holds; leave it out, or use "
            "features='live'"
        )
    if amp != "none" or compile:
        raise ValueError(
            "amp and compile are for the networks, and a bank's features were computed by them "
            "before, in float32; leave amp=none and compile=False, or use features='live'"
        )
    return BankFeatures(
        recognizer,
        videos,
        bank,
        positions=grid.all_offsets(),
        patch_size=grid.patch_size,
        judges=judges,
        observation=observation,
        bank_device=bank_device,
    )


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


def rules_of(build: Callable[..., EpisodeCore]) -> dict[str, Any]:
    """The arguments of `from_parts` with their types, as the functions above declare them."""
    rules = {name: hint for name, hint in keywords_of(build).items() if name != "num_rows"}
    objects: dict[str, Any] = {name: Any for name in ("bank", "judges") if name in rules}
    return {**rules, **objects}


def arguments_of(build: Callable[..., EpisodeCore]) -> dict[str, Any]:
    """The arguments of `make`, likewise."""
    every = {**keywords_of(make_core), **rules_of(build)}
    return {n: hint for n, hint in every.items() if n not in ("num_rows", "bank", "judges")}
