"""PatchLocalizationCore: the rules of the environment, written once, for N episodes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from adafocus_env.envs.locations import Locations, PatchGrid
from adafocus_env.envs.rewards import REWARDS
from adafocus_env.features.source import EpisodeFeatures, EpisodeStart, FeatureSource, WorksAhead
from adafocus_env.seeding import Purpose, episode_rng

# Patches whose features are in memory together where all positions are compared.
_PATCHES_AT_ONCE = 1024


@dataclass(frozen=True)
class Outcome:
    """What looking brought: of one step, leading shape `(N,)`, or of whole episodes, `(N, T)`.

    Attributes:
        rewards: float32.
        confidences: softmax probability of the true class.
        baseline_confidences: what was subtracted from it; 0 for the reward `conf`.
        logits: `(..., K)`.
        predicted_labels: int64.
        offsets: `(..., 2)` int64 (top, left) corners of the patches in pixels, on the CPU.
        steps: int64, index of the frame in the clip, on the CPU.
    """

    rewards: Tensor
    confidences: Tensor
    baseline_confidences: Tensor
    logits: Tensor
    predicted_labels: Tensor
    offsets: Tensor
    steps: Tensor


class PatchLocalizationCore:
    """N episodes: clips seen through frozen networks, and an agent that decides where to look.

    Actions never change observations, so whole episodes can be played at once: `observe_episode`,
    then `play`. That equals T calls of `transition`.

    Args:
        source: videos and networks.
        locations: what actions mean.
        grid: the positions of `reward="expected"`, `baseline_positions="grid"` and the oracle.
        num_rows: N.
        reward: name in `REWARDS`.
        baseline_positions: where the random patch of `reward="random"` may be: `"pixel"`, offsets
            0 to `side - P - 1` (published; the last one is never drawn), or `"grid"`.

    Attributes:
        starts: the episode of each row, None before its first reset.
        steps: `(N,)` int64, decisions taken so far in each row, on the CPU.

    Raises:
        ValueError: unknown reward or baseline positions.
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
    ):
        if reward not in REWARDS:
            raise ValueError(f"unknown reward {reward!r}; known are {', '.join(REWARDS)}")
        if baseline_positions not in ("pixel", "grid"):
            raise ValueError(f"baseline_positions is 'pixel' or 'grid', not {baseline_positions!r}")
        if num_rows < 1:
            raise ValueError(f"at least one row is needed, got {num_rows}")
        self.source = source
        self.locations = locations
        self.grid = grid
        self.num_rows = num_rows
        self.num_decisions = source.num_decisions
        self.starts: list[EpisodeStart | None] = [None] * num_rows
        self.steps = torch.zeros(num_rows, dtype=torch.int64)
        self._reward = REWARDS[reward]
        self._compares_random_patch = reward == "random"
        self._baseline_on_grid = baseline_positions == "grid"
        self._features: EpisodeFeatures = source.open(num_rows)
        self._classifier_state = torch.zeros(num_rows, source.state_size, device=source.device)
        self._previous_confidence = torch.zeros(num_rows, device=source.device)
        self._random_offsets = torch.zeros(num_rows, self.num_decisions, 2, dtype=torch.int64)

    @property
    def labels(self) -> Tensor:
        """`(N,)` true classes of the loaded clips, int64, on the CPU."""
        return self._features.labels.cpu().clone()

    def reset_rows(self, rows: Sequence[int], starts: Sequence[EpisodeStart]) -> None:
        """Begin new episodes in some rows.

        Raises:
            IndexError: a video index is outside the split.
        """
        for start in starts:
            if not 0 <= start.video_index < self.source.num_videos:
                raise IndexError(
                    f"video_index {start.video_index} is not in 0..{self.source.num_videos - 1}"
                )
        self._features.load(rows, starts)
        for row, start in zip(rows, starts, strict=True):
            self.starts[row] = start
        index = torch.as_tensor(list(rows))
        self._random_offsets[index] = self._draw_random_offsets(starts)
        self.steps[index] = 0
        self._classifier_state[index] = 0.0
        self._previous_confidence[index] = 0.0

    @property
    def works_ahead(self) -> bool:
        """Whether `prefetch` does anything."""
        return isinstance(self._features, WorksAhead) and self._features.works_ahead

    def prefetch(self, starts: Sequence[EpisodeStart]) -> None:
        """Announce the episodes of a coming `reset_rows`; it changes no result."""
        if isinstance(self._features, WorksAhead):
            self._features.prefetch(starts)

    def observe(self) -> Tensor:
        """`(N, C, h, w)` or `(N, C)`: the glance at each row's next frame.

        After the last step there is no next frame and the last one is shown again. The label is
        never in it.
        """
        self._require_started()
        return self._features.observation(torch.arange(self.num_rows), self._frame_steps())

    def observe_episode(self) -> Tensor:
        """`(N, T, C, h, w)` or `(N, T, C)`: all observations of the episodes, known in advance."""
        self.require_at_start("observe_episode")
        rows, steps = self._all_pairs()
        observations: Tensor = self._features.observation(rows, steps)
        return observations.reshape(self.num_rows, self.num_decisions, *observations.shape[1:])

    def transition(
        self, actions: Tensor | None = None, *, offsets: Tensor | None = None
    ) -> Outcome:
        """Look at one patch of each row's frame.

        Args:
            actions: `(N,)` or `(N, 2)`, checked by `locations.check`; or instead
            offsets: `(N, 2)` integer (top, left) corners in pixels, anywhere in the frame.

        Raises:
            gymnasium.error.ResetNeeded: a row's episode has not begun or is over.
        """
        self._require_started()
        if bool((self.steps >= self.num_decisions).any()):
            over = (self.steps >= self.num_decisions).nonzero().flatten().tolist()
            raise ResetNeeded(
                f"the episodes of rows {over} are over; reset them before another step"
            )
        offsets = self._offsets(actions, offsets, (self.num_rows,))
        rows, steps = torch.arange(self.num_rows), self.steps.clone()
        before = self._classifier_state
        patch_vectors, random_vectors = self._focus(rows, steps, offsets)
        logits, after = self._features.classify(rows, steps, patch_vectors, before)
        what_if = _WhatIf(
            self, rows, steps, before, self._previous_confidence, random_vectors=random_vectors
        )
        outcome = self._outcome(what_if, logits, offsets)
        self._classifier_state = after
        self._previous_confidence = outcome.confidences.clone()  # the outcome is the caller's
        self.steps += 1
        return outcome

    def play(self, actions: Tensor | None = None, *, offsets: Tensor | None = None) -> Outcome:
        """Play whole episodes; the same numbers as T calls of `transition`.

        Args:
            actions: `(N, T)` or `(N, T, 2)`; or instead
            offsets: `(N, T, 2)` integer (top, left) corners in pixels.

        Raises:
            gymnasium.error.ResetNeeded: an episode has not begun, or not at its first frame.
        """
        self.require_at_start("play")
        shape = (self.num_rows, self.num_decisions)
        offsets = self._offsets(actions, offsets, shape)
        rows, steps = self._all_pairs()
        patch_vectors, random_vectors = self._focus(rows, steps, offsets.flatten(0, 1))
        logits, states = self._features.classify_sequence(patch_vectors.unflatten(0, shape))
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1).flatten(0, 1)
        confidences = self._confidence(rows, logits.flatten(0, 1)).view(shape)
        previous = torch.cat([torch.zeros_like(confidences[:, :1]), confidences[:, :-1]], dim=1)
        what_if = _WhatIf(
            self, rows, steps, before, previous.flatten(), random_vectors=random_vectors
        )
        outcome = self._outcome(what_if, logits.flatten(0, 1), offsets.flatten(0, 1))
        self._classifier_state = states[:, -1].contiguous()
        self._previous_confidence = confidences[:, -1].contiguous()
        self.steps += self.num_decisions
        return Outcome(**{name: value.unflatten(0, shape) for name, value in vars(outcome).items()})

    def confidences_at_all_positions(self) -> Tensor:
        """`(N, A)` confidence that each grid position would give at the current step.

        Knows the label: a reference for measuring policies by, not an observation.
        """
        self._require_started()
        rows = torch.arange(self.num_rows)
        state, previous = self._classifier_state, self._previous_confidence
        return _WhatIf(self, rows, self._frame_steps(), state, previous).at_all_positions()

    def frame(self, row: int, step: int) -> Tensor:
        """Frame `(H, W, 3)` uint8 RGB of a row's clip."""
        return torch.from_numpy(self._features.frame(row, step))

    def _focus(self, rows: Tensor, steps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patch vectors at offsets `(M, 2)`, and at the random ones where the reward needs them.

        Both in one batch: a step of few rows is too small a batch for fast convolutions.
        """
        if not self._compares_random_patch:
            return self._features.focus(rows, steps, offsets), None
        both = torch.cat([offsets, self._random_offsets[rows, steps]])
        vectors = self._features.focus(rows.repeat(2), steps.repeat(2), both)
        return vectors[: len(rows)], vectors[len(rows) :]

    def _outcome(self, what_if: _WhatIf, logits: Tensor, offsets: Tensor) -> Outcome:
        confidences = self._confidence(what_if.rows, logits)
        baseline = self._reward(what_if)
        return Outcome(
            rewards=confidences - baseline,
            confidences=confidences,
            baseline_confidences=baseline,
            logits=logits,
            predicted_labels=logits.argmax(dim=1),
            offsets=offsets,
            steps=what_if.steps,
        )

    def _confidence(self, rows: Tensor, logits: Tensor) -> Tensor:
        """`(M,)` softmax probability of each row's true class."""
        labels = self._features.labels[rows.to(logits.device)]
        return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]

    def _offsets(
        self, actions: Tensor | None, offsets: Tensor | None, shape: tuple[int, ...]
    ) -> Tensor:
        """Checked `(*shape, 2)` int64 (top, left) offsets on the CPU."""
        if (actions is None) == (offsets is None):
            raise ValueError("give either actions or offsets")
        if offsets is None:
            assert actions is not None
            return self.locations.offsets(actions)
        offsets = torch.as_tensor(offsets).cpu()
        if offsets.shape != (*shape, 2) or offsets.is_floating_point():
            raise ValueError(
                f"offsets must be integer (top, left) pixels of shape {(*shape, 2)}, "
                f"got {offsets.dtype} of shape {tuple(offsets.shape)}"
            )
        free = self.source.frame_size - self.source.patch_size
        if bool(((offsets < 0) | (offsets > free)).any()):
            raise ValueError(f"(top, left) offsets must lie in 0..{free} pixels")
        return offsets.long()

    def _draw_random_offsets(self, starts: Sequence[EpisodeStart]) -> Tensor:
        """`(M, T, 2)` offsets of the random patches; those of one episode are drawn at once."""
        free = self.source.frame_size - self.source.patch_size
        limit = self.grid.grid_size if self._baseline_on_grid else max(free, 1)
        drawn = torch.empty(len(starts), self.num_decisions, 2, dtype=torch.int64)
        for place, start in zip(drawn.numpy(), starts, strict=True):
            rng = episode_rng(start.episode_seed, Purpose.BASELINE)
            place[:] = rng.integers(0, limit, size=place.shape)
        if self._baseline_on_grid:
            return self.grid.offsets(drawn[..., 0] * self.grid.grid_size + drawn[..., 1])
        return drawn

    def _all_pairs(self) -> tuple[Tensor, Tensor]:
        """All (row, step) pairs, row-major."""
        rows = torch.arange(self.num_rows).repeat_interleave(self.num_decisions)
        return rows, torch.arange(self.num_decisions).repeat(self.num_rows)

    def _frame_steps(self) -> Tensor:
        return self.steps.clamp(max=self.num_decisions - 1)

    def _require_started(self) -> None:
        missing = [row for row, start in enumerate(self.starts) if start is None]
        if missing:
            raise ResetNeeded(f"call reset first: rows {missing} have no episode yet")

    def require_at_start(self, what: str) -> None:
        """Refuse what only makes sense between episodes.

        Raises:
            gymnasium.error.ResetNeeded: a row is not at the first frame of an episode.
        """
        self._require_started()
        if bool(self.steps.any()):
            raise ResetNeeded(f"{what} needs every row at its first frame; reset first")


class _WhatIf:
    """Confidences of other looks from the same classifier states (see `rewards.WhatIf`)."""

    def __init__(
        self,
        core: PatchLocalizationCore,
        rows: Tensor,
        steps: Tensor,
        state: Tensor,
        previous_confidence: Tensor,
        *,
        random_vectors: Tensor | None = None,
    ):
        self.rows = rows
        self.steps = steps
        self.previous_confidence = previous_confidence
        self._core = core
        self._state = state
        self._random_vectors = random_vectors

    def at_random_offset(self) -> Tensor:
        assert self._random_vectors is not None
        return self._confidence(self.rows, self.steps, self._random_vectors, self._state)

    def at_all_positions(self) -> Tensor:
        positions = self._core.grid.all_offsets()
        at_once = max(1, _PATCHES_AT_ONCE // len(positions))
        pairs = zip(
            self.rows.split(at_once),
            self.steps.split(at_once),
            self._state.split(at_once),
            strict=True,
        )
        return torch.cat([self._at(positions, *part) for part in pairs])

    def _at(self, positions: Tensor, rows: Tensor, steps: Tensor, state: Tensor) -> Tensor:
        """`(M, A)` confidences of some pairs at all positions."""
        features, count = self._core._features, len(positions)
        each_row = rows.repeat_interleave(count)
        vectors = features.focus(
            each_row, steps.repeat_interleave(count), positions.repeat(len(rows), 1)
        )
        logits = features.classify_each(rows, steps, vectors.view(len(rows), count, -1), state)
        return self._core._confidence(each_row, logits.flatten(0, 1)).view(-1, count)

    def without_patch(self) -> Tensor:
        shape = (len(self.rows), self._core.source.num_patch_features)
        vectors = self._state.new_zeros(shape)
        return self._confidence(self.rows, self.steps, vectors, self._state)

    def _confidence(self, rows: Tensor, steps: Tensor, vectors: Tensor, state: Tensor) -> Tensor:
        logits, _ = self._core._features.classify(rows, steps, vectors, state)
        return self._core._confidence(rows, logits)
