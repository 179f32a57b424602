"""From arguments that JSON can write to a `PatchLocalizationCore`."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from adafocus_env.data.catalog import VideoOptions, open_videos
from adafocus_env.data.clips import Videos
from adafocus_env.envs.actions import PatchGrid, make_locations
from adafocus_env.envs.core import PatchLocalizationCore
from adafocus_env.envs.skip_cost import DEFAULT_SKIP_COST, SkipCost
from adafocus_env.features.bank import FeatureBank, open_bank
from adafocus_env.features.bank_features import BankFeatures
from adafocus_env.features.judges import Judges
from adafocus_env.features.live import LiveFeatures
from adafocus_env.features.source import FeatureSource
from adafocus_env.networks.loading import AnyRecognizer, load_recognizer
from adafocus_env.shipped import shipped_recognizer


def choose_device(device: str) -> torch.device:
    """`"auto"` is a GPU where there is one, else the CPU; anything else is a torch device.

    Raises:
        ValueError: no device of that name, or no GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; use auto, cpu, cuda or cuda:1") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} was asked for, but torch finds no GPU; use auto or cpu"
        )
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
    data_dir: str | None = None,
    lists: dict[str, Any] | None = None,
    media: str | None = None,
    frame_rate: float | None = None,
    augment: bool | None = None,
    crop: bool = True,
    flip: bool = True,
    crops: Literal["same", "independent"] = "same",
    recognizer: str | None = None,
    num_frames: int | None = None,
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
    video_div: int | None = None,
    locations: Literal["grid", "continuous", "skip"] = "grid",
    grid_size: int = 7,
    patch_size: int | None = None,
    focus_size: int | None = None,
    observation: Literal["map", "vector"] = "map",
    reward: str = "random",
    baseline_positions: Literal["pixel", "grid"] = "pixel",
    skip_cost: float | Literal["random"] | None = None,
    bank: FeatureBank | None = None,
    judges: Judges | None = None,
    bank_device: Literal["auto", "cpu", "cuda"] = "auto",
    amp: Literal["none", "bf16", "fp16"] = "none",
    compile: bool = False,  # noqa: A002  # the name users know
    num_workers: int = 0,
) -> PatchLocalizationCore:
    """The core over networks and videos, perhaps a bank and judges, that are already there."""
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
            focus_size=focus_size,
            judges=judges,
            observation=observation,
            amp=amp,
            compile=compile,
            num_workers=num_workers,
        )
    else:
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
        source = BankFeatures(
            recognizer,
            videos,
            bank,
            positions=grid.all_offsets(),
            patch_size=patch_size,
            judges=judges,
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


def _keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(item.name for item in parameters if item.kind is item.KEYWORD_ONLY)


# The arguments of `from_parts` and of `make`, under the names that the two functions above give.
RULES = tuple(name for name in _keywords(make_core_from_parts) if name != "num_rows")
ARGUMENTS = tuple(
    name for name in (*_keywords(make_core), *RULES) if name not in ("num_rows", "bank", "judges")
)


def check_arguments(given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse arguments that there are not.

    Raises:
        TypeError: the message names the argument, and the nearest one that there is.
    """
    for name in given:
        if name == "max_episode_steps":
            raise TypeError(
                "max_episode_steps: an episode always has exactly one step for each of its frames, "
                "and all rows end together; use num_frames= for shorter clips"
            )
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            cure = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            raise TypeError(f"unknown argument {name}; {cure}")
