"""ActiveVisionCore: the same episodes, and what was seen so far is observed as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.envs.actions import GridOrStop, Locations, PatchGrid
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.outcome import Outcome
from adafocus_env.envs.rewards import true_confidence
from adafocus_env.features.source import EpisodeStart, FeatureSource

# What can be observed, in the order in which it is shown.
OBSERVATIONS = ("glance", "patch", "origin", "belief", "progress")
# Patch features are shown within 0 and this; those of the built-in focusers hardly reach a tenth.
PATCH_BOUND = 64.0


@dataclass(frozen=True)
class LoopCosts:
    """Multiply-adds of what an agent causes.

    Attributes:
        frame: of seeing a frame at all: its glance.
        look: of a look at it: focuser and classifier.
    """

    frame: float
    look: float


class ActiveVisionCore(EpisodeCore):
    """N episodes in which what was seen decides what is observed.

    Each frame is shown for as many decisions as there are looks to a frame.

    Args:
        source: videos and networks.
        locations: what actions mean; with `GridOrStop` the last one ends the episode.
        grid: as of `EpisodeCore`.
        observation: names of `OBSERVATIONS`.
        patch_pixels: show the pixels of the last patch instead of its features.
        costs: for `multiply_adds`.
        **rules: as of `EpisodeCore`.

    Attributes:
        multiply_adds: `(N,)` float64, spent so far in each row's episode, on the CPU.

    Raises:
        ValueError: unknown names, or a rule that `EpisodeCore` refuses.
    """

    def __init__(
        self,
        source: FeatureSource,
        locations: Locations,
        grid: PatchGrid,
        *,
        observation: str | Sequence[str] = OBSERVATIONS,
        patch_pixels: bool = False,
        costs: LoopCosts,
        **rules: Any,
    ):
        self.observation = observation_names(observation)
        if patch_pixels and "patch" not in self.observation:
            raise ValueError("patch_pixels=True is about 'patch', which observation= leaves out")
        super().__init__(source, locations, grid, **rules)
        self.patch_pixels = patch_pixels
        self.multiply_adds = torch.zeros(self.num_rows, dtype=torch.float64)
        self._costs = costs
        self._looks = torch.zeros(self.num_rows, dtype=torch.int64)
        self._stopped = torch.zeros(self.num_rows, dtype=torch.bool)
        rows, device, side = self.num_rows, source.device, source.patch_size
        self._logits = torch.zeros(rows, len(source.class_names), device=device)
        self._origins = torch.zeros(rows, 3, device=device)
        self._patches = (
            torch.zeros(rows, 3, side, side, dtype=torch.uint8)
            if patch_pixels
            else torch.zeros(rows, source.num_patch_features, device=device)
        )

    @property
    def can_stop(self) -> bool:
        """Whether an action ends the episode."""
        return isinstance(self.locations, GridOrStop)

    @property
    def over(self) -> Tensor:
        """`(N,)` bool, whether each row's episode has ended, on the CPU."""
        return super().over | self._stopped

    @property
    def observation_space(self) -> spaces.Dict:
        """Of one row."""
        patch = (
            spaces.Box(0, 255, self._patches.shape[1:], np.uint8)
            if self.patch_pixels
            else spaces.Box(0.0, PATCH_BOUND, self._patches.shape[1:], np.float32)
        )
        parts = {
            "glance": super().observation_space,
            "patch": patch,
            "origin": spaces.Box(0.0, 1.0, (3,), np.float32),
            "belief": spaces.Box(0.0, 1.0, self._logits.shape[1:], np.float32),
            "progress": spaces.Box(0.0, 1.0, (2,), np.float32),
        }
        return spaces.Dict({name: parts[name] for name in self.observation})

    def observe_loop(self) -> dict[str, Tensor]:
        """What each row's agent sees now, by name, `(N, ...)` each; copies.

        `glance` is that of the next frame, as `observe` shows it. `patch` is what the last look
        saw, `origin` where: (row, column) as fractions of the free range, and 1; before the first
        look both are zeros. `belief` is the softmax of the classifier after it, uniform before.
        `progress` is which share of frames and of looks is done.
        """
        self.require_started()
        parts: dict[str, Any] = {
            "glance": self.observe,
            "patch": self._patches.clone,
            "origin": self._origins.clone,
            "belief": self.belief,
            "progress": self._progress,
        }
        return {name: parts[name]() for name in self.observation}

    def belief(self) -> Tensor:
        """`(N, K)`, softmax of the classifier after the last look; uniform before the first."""
        return self._logits.softmax(dim=1)

    def reset_rows(
        self,
        rows: Sequence[int],
        starts: Sequence[EpisodeStart],
        skip_costs: Sequence[float | None] | None = None,
    ) -> None:
        """Begin new episodes in some rows, of which nothing has been seen."""
        super().reset_rows(rows, starts, skip_costs)
        index = torch.as_tensor(list(rows))
        for values in (self._looks, self._stopped, self.multiply_adds):
            values[index] = 0
        for values in (self._logits, self._origins, self._patches):
            values[index.to(values.device)] = 0

    def transition(
        self,
        actions: Tensor | None = None,
        *,
        offsets: Tensor | None = None,
        focused: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Outcome:
        """Look at one patch of each row's frame, or end the row's episode, where an action does.

        Ending costs nothing and brings nothing: reward 0, the confidence of before.

        Args:
            actions: as of `EpisodeCore`; or instead
            offsets: likewise, and
            focused: `(M,)` bool, with offsets: False ends the episode.
            rows: as of `EpisodeCore`.
        """
        rows = torch.arange(self.num_rows) if rows is None else rows
        self.require_running(rows)
        stops = self._stops(actions, focused, len(rows))
        looking, stopping = rows[~stops], rows[stops]
        frames = self.frame_steps[rows]
        seen = None
        if len(looking):
            given = None if actions is None else actions[~stops]
            places = None if offsets is None else torch.as_tensor(offsets)[~stops]
            seen = super().transition(given, offsets=places, rows=looking)
            self._remember(seen, looking)
        self._stopped[stopping] = True
        self._looks[looking] += 1
        shown, looks = (frames + 1).double(), self._looks[rows].double()
        self.multiply_adds[rows] = shown * self._costs.frame + looks * self._costs.look
        if not len(stopping):
            assert seen is not None
            return seen
        ended = self._ended(stopping, frames[stops])
        return ended if seen is None else _joined(seen, ended, stops)

    def _stops(self, actions: Tensor | None, focused: Tensor | None, count: int) -> Tensor:
        if actions is None:
            return torch.zeros(count, dtype=torch.bool) if focused is None else ~focused.cpu()
        if isinstance(self.locations, GridOrStop):
            return self.locations.stops(actions)
        return torch.zeros(count, dtype=torch.bool)

    def _remember(self, outcome: Outcome, rows: Tensor) -> None:
        index = rows.to(self._logits.device)
        self._logits[index] = outcome.logits
        free = max(self.source.frame_size - self.source.patch_size, 1)
        origins = torch.nn.functional.pad(outcome.offsets / free, (0, 1), value=1.0)
        self._origins[index] = origins.to(self._origins)
        if self.patch_pixels:
            for row, offset, frame in zip(rows, outcome.offsets, outcome.steps, strict=True):
                self._patches[row] = self._pixels(int(row), int(frame), offset.tolist())
        elif "patch" in self.observation:
            self._patches[index] = outcome.patch_vectors.clamp(0.0, PATCH_BOUND)

    def _pixels(self, row: int, frame: int, corner: Sequence[int]) -> Tensor:
        (top, left), side = corner, self.source.patch_size
        image = self.features.frame(row, frame)[top : top + side, left : left + side]
        return torch.from_numpy(image).permute(2, 0, 1)

    def _ended(self, rows: Tensor, frames: Tensor) -> Outcome:
        """The outcome of ending the episodes of some rows."""
        index = rows.to(self._logits.device)
        logits = self._logits[index]
        confidences = true_confidence(self.features, rows, logits)
        return Outcome(
            rewards=torch.zeros_like(confidences),
            confidences=confidences,
            baseline_confidences=confidences.clone(),
            logits=logits,
            predicted_labels=logits.argmax(dim=1),
            offsets=torch.zeros(len(rows), 2, dtype=torch.int64),
            focused=torch.zeros(len(rows), dtype=torch.bool),
            steps=frames,
            patch_vectors=logits.new_zeros(len(rows), self.source.num_patch_features),
        )

    def _progress(self) -> Tensor:
        frames = (self.steps // self.looks_per_frame) / self.source.num_decisions
        return torch.stack([frames, self.steps / self.num_decisions], dim=1).to(self._origins)


def observation_names(observation: str | Sequence[str]) -> tuple[str, ...]:
    """Names of `OBSERVATIONS`, in their order.

    Args:
        observation: one name, or several.

    Raises:
        ValueError: an unknown name, or none.
    """
    given = (observation,) if isinstance(observation, str) else tuple(observation)
    unknown = [name for name in given if name not in OBSERVATIONS]
    if unknown or not given:
        what = f"unknown observation {unknown[0]!r}" if unknown else "observation= names nothing"
        raise ValueError(f"{what}; known are {', '.join(OBSERVATIONS)}")
    return tuple(name for name in OBSERVATIONS if name in given)


def _joined(seen: Outcome, ended: Outcome, stops: Tensor) -> Outcome:
    """One outcome of rows that looked and rows that ended, `(M,)` bool, in their order."""

    def merged(one: Tensor, other: Tensor) -> Tensor:
        both = one.new_empty(len(stops), *one.shape[1:])
        where = stops.to(one.device)
        both[~where], both[where] = one, other
        return both

    parts: Mapping[str, Tensor] = vars(ended)
    return Outcome(**{name: merged(value, parts[name]) for name, value in vars(seen).items()})
