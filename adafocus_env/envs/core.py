"""PatchLocalizationCore: the rules of the environment, written once, for N episodes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from adafocus_env.envs.actions import Locations, PatchChoice, PatchGrid, checked_choice
from adafocus_env.envs.rewards import (
    REWARDS,
    ChosenAndOthers,
    Counterfactuals,
    look_costs,
    true_confidence,
)
from adafocus_env.envs.skip_cost import SkipCost, append_cost
from adafocus_env.features.source import EpisodeFeatures, EpisodeStart, FeatureSource
from adafocus_env.seeding import Purpose, episode_rng


@dataclass(frozen=True)
class Outcome:
    """What looking brought: of one step, leading shape `(N,)`, or of whole episodes, `(N, T)`.

    Attributes:
        rewards: float32.
        confidences: softmax probability of the true class.
        baseline_confidences: what the reward subtracts from it; 0 for the reward `conf`.
        logits: `(..., K)`.
        predicted_labels: int64.
        offsets: `(..., 2)` int64 (top, left) corners of the patches in pixels, on the CPU; (0, 0)
            in skipped frames.
        focused: bool, on the CPU; False in skipped frames, which no patch was cut from.
        steps: int64, index of the frame in the clip, on the CPU.
    """

    rewards: Tensor
    confidences: Tensor
    baseline_confidences: Tensor
    logits: Tensor
    predicted_labels: Tensor
    offsets: Tensor
    focused: Tensor
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
        skip_cost: subtracted from the reward of each frame that is focused on; where it is random,
            observations show it. None: nothing.

    Attributes:
        starts: the episode of each row, None before its first reset.
        skip_costs: `(N,)` float64, price of a look in each row's episode, on the CPU.
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
        skip_cost: SkipCost | None = None,
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
        self.skip_costs = torch.zeros(num_rows, dtype=torch.float64)
        self._skip_cost = SkipCost(0.0) if skip_cost is None else skip_cost
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

    @property
    def can_skip(self) -> bool:
        """Whether an action skips the frame."""
        return self.locations.can_skip

    @property
    def shows_cost(self) -> bool:
        """Whether observations end with a channel that shows the price of a look."""
        return self._skip_cost.is_random

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of one row: the source's, with one channel more where observations show the cost."""
        channels, *places = self.source.observation_shape
        return (channels + self.shows_cost, *places)

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
        self._features.load(rows, starts)
        given = skip_costs or [None] * len(starts)
        for row, start, cost in zip(rows, starts, given, strict=True):
            self.starts[row] = start
            own = self._skip_cost.of_episode(start.episode_seed)
            self.skip_costs[row] = own if cost is None else cost
        index = torch.as_tensor(list(rows))
        self._random_offsets[index] = self._draw_random_offsets(starts)
        self.steps[index] = 0
        self._classifier_state[index] = 0.0
        self._previous_confidence[index] = 0.0

    @property
    def works_ahead(self) -> bool:
        """Whether `prefetch` does anything."""
        return self._features.works_ahead

    def prefetch(self, starts: Sequence[EpisodeStart]) -> None:
        """Announce the episodes of a coming `reset_rows`; it changes no result."""
        self._features.prefetch(starts)

    def observe(self) -> Tensor:
        """`(N, C, h, w)` or `(N, C)`: the glance at each row's next frame.

        After the last step there is no next frame and the last one is shown again. The label is
        never in it.
        """
        self._require_started()
        return self._observation(torch.arange(self.num_rows), self._frame_steps())

    def observe_episode(self) -> Tensor:
        """`(N, T, C, h, w)` or `(N, T, C)`: all observations of the episodes, known in advance."""
        self.require_at_start("observe_episode")
        rows, steps = self._all_pairs()
        observations = self._observation(rows, steps)
        return observations.reshape(self.num_rows, self.num_decisions, *observations.shape[1:])

    def transition(
        self,
        actions: Tensor | None = None,
        *,
        offsets: Tensor | None = None,
        focused: Tensor | None = None,
    ) -> Outcome:
        """Look at one patch of each row's frame, or skip the frame.

        The focuser runs on the frames that are kept alone; for the others the classifier gets zeros
        in place of the patch's features.

        Args:
            actions: `(N,)` or `(N, 2)`, checked by `locations.check`; or instead
            offsets: `(N, 2)` integer (top, left) corners in pixels, anywhere in the frame.
            focused: `(N,)` bool, with offsets: False skips the frame; None keeps all.

        Raises:
            gymnasium.error.ResetNeeded: a row's episode has not begun or is over.
        """
        self._require_started()
        if bool((self.steps >= self.num_decisions).any()):
            over = (self.steps >= self.num_decisions).nonzero().flatten().tolist()
            raise ResetNeeded(
                f"the episodes of rows {over} are over; reset them before another step"
            )
        looks = self._looks(actions, offsets, focused, (self.num_rows,))
        rows, steps = torch.arange(self.num_rows), self.steps.clone()
        before = self._classifier_state
        patch_vectors, random_vectors = self._focus(rows, steps, looks)
        logits, after = self._features.classify(rows, steps, patch_vectors, before)
        others = Counterfactuals(self._features, rows, steps, before)
        outcome = self._outcome(
            (rows, steps), looks, logits, others, self._previous_confidence, random_vectors
        )
        self._classifier_state = after
        self._previous_confidence = outcome.confidences.clone()  # the outcome is the caller's
        self.steps += 1
        return outcome

    def play(
        self,
        actions: Tensor | None = None,
        *,
        offsets: Tensor | None = None,
        focused: Tensor | None = None,
    ) -> Outcome:
        """Play whole episodes; the same numbers as T calls of `transition`.

        Args:
            actions: `(N, T)` or `(N, T, 2)`; or instead
            offsets: `(N, T, 2)` integer (top, left) corners in pixels.
            focused: `(N, T)` bool, with offsets: False skips the frame; None keeps all.

        Raises:
            gymnasium.error.ResetNeeded: an episode has not begun, or not at its first frame.
        """
        self.require_at_start("play")
        shape = (self.num_rows, self.num_decisions)
        looks = self._looks(actions, offsets, focused, shape)
        looks = PatchChoice(looks.offsets.flatten(0, 1), looks.focused.flatten())
        rows, steps = self._all_pairs()
        patch_vectors, random_vectors = self._focus(rows, steps, looks)
        logits, states = self._features.classify_sequence(patch_vectors.unflatten(0, shape))
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1).flatten(0, 1)
        confidences = true_confidence(self._features, rows, logits.flatten(0, 1)).view(shape)
        previous = torch.cat([torch.zeros_like(confidences[:, :1]), confidences[:, :-1]], dim=1)
        others = Counterfactuals(self._features, rows, steps, before)
        outcome = self._outcome(
            (rows, steps), looks, logits.flatten(0, 1), others, previous.flatten(), random_vectors
        )
        self._classifier_state = states[:, -1].contiguous()
        self._previous_confidence = confidences[:, -1].contiguous()
        self.steps += self.num_decisions
        return Outcome(**{name: value.unflatten(0, shape) for name, value in vars(outcome).items()})

    def confidences_at_all_positions(self) -> Tensor:
        """`(N, A)` confidence that each grid position would give at the current step.

        Knows the label: a reference for measuring policies by, not an observation.
        """
        self._require_started()
        rows, steps = torch.arange(self.num_rows), self._frame_steps()
        others = Counterfactuals(self._features, rows, steps, self._classifier_state)
        return others.at_all(self.grid.all_offsets())

    def patch_vectors_at_all_positions(self, step: int) -> Tensor:
        """`(N, A, F)` features of the patch at each grid position of each row's frame `step`.

        They depend on no look before, so a search over looks pays for them once a frame.
        """
        self._require_started()
        positions = self.grid.all_offsets()
        count = len(positions)
        rows = torch.arange(self.num_rows).repeat_interleave(count)
        steps = torch.full_like(rows, step)
        vectors = self._features.focus(rows, steps, positions.repeat(self.num_rows, 1))
        return vectors.view(self.num_rows, count, -1)

    def confidences_of(
        self, rows: Tensor, step: int, patch_vectors: Tensor, states: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What other looks from other classifier states would bring.

        Knows the label, as `confidences_at_all_positions` does.

        Args:
            rows: `(M,)` int64, on the CPU.
            step: of the frame.
            patch_vectors: `(M, F)`.
            states: `(M, S)` before the looks.

        Returns:
            true-class confidences `(M,)` and states `(M, S)` after them.
        """
        steps = torch.full_like(rows, step)
        logits, after = self._features.classify(rows, steps, patch_vectors, states)
        return true_confidence(self._features, rows, logits), after

    def frame(self, row: int, step: int) -> Tensor:
        """Frame `(H, W, 3)` uint8 RGB of a row's clip."""
        return torch.from_numpy(self._features.frame(row, step))

    def _observation(self, rows: Tensor, steps: Tensor) -> Tensor:
        """What `(M,)` pairs show: the glance, and the price of a look where it is not fixed."""
        glances: Tensor = self._features.observation(rows, steps)
        if not self.shows_cost:
            return glances
        return append_cost(glances, self.skip_costs[rows], self.source.observation_bound)

    def _focus(
        self, rows: Tensor, steps: Tensor, looks: PatchChoice
    ) -> tuple[Tensor, Tensor | None]:
        """Patch vectors of M looks, and at the random offsets where the reward needs them.

        Both in one batch: a step of few rows is too small a batch for fast convolutions. Skipped
        frames are not in it, and get zeros.
        """
        index = looks.focused.nonzero()[:, 0]
        places = [(rows[index], steps[index], looks.offsets[index])]
        if self._compares_random_patch:
            places.append((rows, steps, self._random_offsets[rows, steps]))
        focused = self._no_vectors(0)
        asked = [torch.cat(parts) for parts in zip(*places, strict=True)]
        if len(asked[0]):
            focused = self._features.focus(*asked)
        chosen, random = focused[: len(index)], focused[len(index) :]
        if len(index) < len(rows):
            everywhere = self._no_vectors(len(rows))
            everywhere[index.to(everywhere.device)] = chosen
            chosen = everywhere
        return chosen, random if self._compares_random_patch else None

    def _no_vectors(self, count: int) -> Tensor:
        """`(count, F)` zeros, the patch vectors of skipped frames."""
        return self._classifier_state.new_zeros(count, self.source.num_patch_features)

    def _outcome(
        self,
        pairs: tuple[Tensor, Tensor],
        looks: PatchChoice,
        logits: Tensor,
        others: Counterfactuals,
        previous_confidence: Tensor,
        random_vectors: Tensor | None,
    ) -> Outcome:
        """Of looks at M (row, step) pairs."""
        rows, steps = pairs
        confidences = true_confidence(self._features, rows, logits)
        focused = looks.focused.to(confidences.device)
        what_if = ChosenAndOthers(
            others,
            self.grid.all_offsets(),
            confidence=confidences,
            focused=focused,
            previous_confidence=previous_confidence,
            random_vectors=random_vectors,
            no_vectors=self._no_vectors(len(rows)),
        )
        baseline = self._reward(what_if)
        costs = look_costs(focused, self.skip_costs[rows].to(confidences))
        return Outcome(
            rewards=confidences - baseline - costs,
            confidences=confidences,
            baseline_confidences=baseline,
            logits=logits,
            predicted_labels=logits.argmax(dim=1),
            offsets=looks.offsets,
            focused=looks.focused,
            steps=steps,
        )

    def _looks(
        self,
        actions: Tensor | None,
        offsets: Tensor | None,
        focused: Tensor | None,
        shape: tuple[int, ...],
    ) -> PatchChoice:
        """The choices of this shape, from checked actions or offsets checked here."""
        if (actions is None) == (offsets is None) or (offsets is None and focused is not None):
            raise ValueError("give either actions or offsets, and focused with offsets only")
        if actions is not None:
            return self.locations.choice(actions)
        free = self.source.frame_size - self.source.patch_size
        return checked_choice(offsets, focused, shape, free)

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
