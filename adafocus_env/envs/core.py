"""EpisodeCore: the rules of the environments, written once, for N episodes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from torch import Tensor

from adafocus_env.envs.actions import Locations, PatchChoice, PatchGrid
from adafocus_env.envs.choices import chosen
from adafocus_env.envs.outcome import Outcome
from adafocus_env.envs.rewards import (
    Counterfactuals,
    gained,
    look_costs,
    prior_confidence,
    random_offsets,
    reward_baseline,
    true_confidence,
)
from adafocus_env.envs.skip_cost import SkipCost, append_cost
from adafocus_env.features.source import EpisodeFeatures, EpisodeStart, FeatureSource


class EpisodeCore:
    """N episodes: clips seen through frozen networks, and an agent that decides where to look.

    What a look is and brings is `transition`, for both families of ids. They differ in what is
    observed: `PatchLocalizationCore` shows glances, which never depend on actions, so that whole
    episodes can be played at once; `ActiveVisionCore` shows what was seen, too, and steps.

    Args:
        source: videos and networks.
        locations: what actions mean.
        grid: the positions of `reward="expected"`, `baseline_positions="grid"` and the oracle.
        num_rows: N.
        reward: name in `REWARDS`.
        baseline_positions: where the random patch of `reward="random"` may be: at any `"pixel"`, as
            published, or on the `"grid"`; see `random_offsets`.
        skip_cost: subtracted from the reward of each frame that is focused on; where it is random,
            observations show it. None: nothing.
        looks_per_frame: decisions at each frame, one after the other.

    Attributes:
        features: what the networks make of the rows' clips.
        starts: the episode of each row, None before its first reset.
        num_decisions: of an episode: one for each look at each frame.
        skip_costs: `(N,)` float64, price of a look in each row's episode, on the CPU.
        steps: `(N,)` int64, decisions taken so far in each row, on the CPU.
        classifier_state: `(N, S)` after them.

    Raises:
        ValueError: unknown reward or baseline positions, or no row or look.
    """

    def __init__(
        self,
        source: FeatureSource,
        locations: Locations,
        grid: PatchGrid,
        *,
        num_rows: int = 1,
        reward: str = "random",
        baseline_positions: str = "pixel",
        skip_cost: SkipCost | None = None,
        looks_per_frame: int = 1,
    ):
        if baseline_positions not in ("pixel", "grid"):
            raise ValueError(f"baseline_positions is 'pixel' or 'grid', not {baseline_positions!r}")
        if num_rows < 1:
            raise ValueError(f"at least one row is needed, got {num_rows}")
        if not isinstance(looks_per_frame, int) or looks_per_frame < 1:
            raise ValueError(f"looks_per_frame is at least 1, not {looks_per_frame!r}")
        self.source = source
        self.locations = locations
        self.grid = grid
        self.num_rows = num_rows
        self.looks_per_frame = looks_per_frame
        self.num_decisions = source.num_decisions * looks_per_frame
        self.starts: list[EpisodeStart | None] = [None] * num_rows
        self.steps = torch.zeros(num_rows, dtype=torch.int64)
        self.skip_costs = torch.zeros(num_rows, dtype=torch.float64)
        self._skip_cost = SkipCost(0.0) if skip_cost is None else skip_cost
        self._reward = reward
        self._baseline = reward_baseline(reward)
        self._prior = prior_confidence(reward, len(source.class_names))
        self._baseline_positions = baseline_positions
        self.features: EpisodeFeatures = source.open(num_rows)
        self.classifier_state = torch.zeros(num_rows, source.state_size, device=source.device)
        self._previous_confidence = torch.zeros(num_rows, device=source.device)
        self._random_offsets = torch.zeros(num_rows, self.num_decisions, 2, dtype=torch.int64)

    @property
    def labels(self) -> Tensor:
        """`(N,)` true classes of the loaded clips, int64, on the CPU."""
        return self.features.labels.cpu().clone()

    @property
    def frame_steps(self) -> Tensor:
        """`(N,)` index of each row's frame; after the last step it stays at the last frame."""
        return self.steps.clamp(max=self.num_decisions - 1) // self.looks_per_frame

    @property
    def over(self) -> Tensor:
        """`(N,)` bool, whether each row's episode has ended, on the CPU."""
        return self.steps >= self.num_decisions

    @property
    def can_skip(self) -> bool:
        """Whether an action skips the frame."""
        return self.locations.can_skip

    @property
    def shows_cost(self) -> bool:
        """Whether observations end with a channel that shows the price of a look."""
        return self._skip_cost.is_random

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """`Box(0, bound, (C, h, w) or (C,), float32)` of one row.

        There is one channel more where observations show the cost.
        """
        channels, *places = self.source.observation_shape
        shape = (channels + self.shows_cost, *places)
        return spaces.Box(0.0, self.source.observation_bound, shape, np.float32)

    def reset_rows(
        self,
        rows: Sequence[int],
        starts: Sequence[EpisodeStart],
        skip_costs: Sequence[float | None] | None = None,
    ) -> None:
        """Begin new episodes in some rows.

        Args:
            rows: which.
            starts: their episodes.
            skip_costs: prices of their looks; None, for a row or all, is the core's own.

        Raises:
            IndexError: a video index is outside the split.
        """
        for start in starts:
            if not 0 <= start.video_index < self.source.num_videos:
                raise IndexError(
                    f"video_index {start.video_index} is not in 0..{self.source.num_videos - 1}"
                )
        self.features.load(rows, starts)
        given = skip_costs or [None] * len(starts)
        for row, start, cost in zip(rows, starts, given, strict=True):
            self.starts[row] = start
            own = self._skip_cost.of_episode(start.episode_seed)
            self.skip_costs[row] = own if cost is None else cost
        index = torch.as_tensor(list(rows))
        self._random_offsets[index] = random_offsets(
            [start.episode_seed for start in starts],
            self.num_decisions,
            self.grid,
            positions=self._baseline_positions,
        )
        self.steps[index] = 0
        self.classifier_state[index] = 0.0
        self._previous_confidence[index] = self._prior

    def observe(self) -> Tensor:
        """`(N, C, h, w)` or `(N, C)`: the glance at each row's next frame.

        After the last step there is no next frame and the last one is shown again. The label is
        never in it.
        """
        self.require_started()
        return self._observation(torch.arange(self.num_rows), self.frame_steps)

    def transition(
        self,
        actions: Tensor | None = None,
        *,
        offsets: Tensor | None = None,
        focused: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Outcome:
        """Look at one patch of each row's frame, or skip the frame.

        The focuser runs on the frames that are focused on alone; for the others the classifier gets
        zeros in place of the patch's features.

        Args:
            actions: `(M,)` or `(M, 2)`, checked by `locations.check`; or instead
            offsets: `(M, 2)` integer (top, left) corners in pixels, anywhere in the frame.
            focused: `(M,)` bool, with offsets: False skips the frame; None skips none.
            rows: `(M,)` int64, those that take the step, the others stay where they are; None: all.

        Raises:
            gymnasium.error.ResetNeeded: a row's episode has not begun or is over.
        """
        rows = torch.arange(self.num_rows) if rows is None else rows
        self.require_running(rows)
        choice = self._choice(actions, offsets, focused, (len(rows),))
        patch_vectors, random_vectors = self._focus(rows, self.steps[rows], choice)
        steps = self.frame_steps[rows]
        index = rows.to(self.classifier_state.device)
        before = self.classifier_state[index]
        logits, after = self.features.classify(rows, steps, patch_vectors, before)
        others = Counterfactuals(
            self.features,
            rows,
            steps,
            before,
            self.grid,
            patch_vectors,
            random_vectors,
            focused=choice.focused.to(logits.device),
            confidence=true_confidence(self.features, rows, logits),
            previous_confidence=self._previous_confidence[index],
        )
        outcome = self._outcome(choice, logits, others)
        self.classifier_state = self.classifier_state.index_copy(0, index, after)
        self._previous_confidence[index] = others.confidence
        self.steps[rows] += 1
        return outcome

    def _observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """What `(M,)` pairs show: the glance, and the price of a look where it is not fixed."""
        glances: Tensor = self.features.observation(rows, steps)
        if not self.shows_cost:
            return glances
        return append_cost(glances, self.skip_costs[rows], self.source.observation_bound)

    def _choice(
        self,
        actions: Tensor | None,
        offsets: Tensor | None,
        focused: Tensor | None,
        shape: tuple[int, ...],
    ) -> PatchChoice:
        """What is looked at, from checked actions or from offsets checked here."""
        free = self.source.frame_size - self.source.patch_size
        return chosen(self.locations, actions, offsets, focused, shape, free)

    def _focus(
        self, rows: Tensor, steps: Tensor, choice: PatchChoice
    ) -> tuple[Tensor, Tensor | None]:
        """Patch vectors of M choices, and at the random offsets where the reward needs them.

        `steps` count decisions.

        Both in one batch: a step of few rows is too small a batch for fast convolutions. Skipped
        frames are not in it, and get zeros.
        """
        index = choice.focused.nonzero()[:, 0]
        frames = steps // self.looks_per_frame
        places = [(rows[index], frames[index], choice.offsets[index])]
        compares = self._reward == "random"
        if compares:
            places.append((rows, frames, self._random_offsets[rows, steps]))
        asked = [torch.cat(parts) for parts in zip(*places, strict=True)]
        vectors = self.features.focus(*asked) if len(asked[0]) else self._no_vectors(0)
        looked_at, random = vectors[: len(index)], vectors[len(index) :]
        if len(index) < len(rows):
            everywhere = self._no_vectors(len(rows))
            everywhere[index.to(everywhere.device)] = looked_at
            looked_at = everywhere
        return looked_at, random if compares else None

    def _no_vectors(self, count: int) -> Tensor:
        return self.classifier_state.new_zeros(count, self.source.num_patch_features)

    def _outcome(self, choice: PatchChoice, logits: Tensor, others: Counterfactuals) -> Outcome:
        baseline = self._baseline(others)
        costs = look_costs(others.focused, self.skip_costs[others.rows].to(logits))
        return Outcome(
            rewards=gained(self._reward, others.confidence, baseline) - costs,
            confidences=others.confidence,
            baseline_confidences=baseline,
            logits=logits,
            predicted_labels=logits.argmax(dim=1),
            offsets=choice.offsets,
            focused=choice.focused,
            steps=others.steps,
            patch_vectors=others.patch_vectors,
        )

    def require_started(self) -> None:
        """Refuse what needs a loaded clip in every row.

        Raises:
            gymnasium.error.ResetNeeded: a row has not been reset.
        """
        missing = [row for row, start in enumerate(self.starts) if start is None]
        if missing:
            raise ResetNeeded(f"call reset first: rows {missing} have no episode yet")

    def require_running(self, rows: Tensor) -> None:
        """Refuse a step of episodes that have not begun, or are over.

        Raises:
            gymnasium.error.ResetNeeded: one of these rows has such an episode.
        """
        self.require_started()
        over = rows[self.over[rows]].tolist()
        if over:
            raise ResetNeeded(
                f"the episodes of rows {over} are over; reset them before another step"
            )

    def require_at_start(self, what: str) -> None:
        """Refuse what only makes sense between episodes.

        Raises:
            gymnasium.error.ResetNeeded: a row is not at the first frame of an episode.
        """
        self.require_started()
        if bool(self.steps.any()):
            raise ResetNeeded(f"{what} needs every row at its first frame; reset first")
