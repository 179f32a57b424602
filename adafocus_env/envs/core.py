"""PatchLocalizationCore: the rules of the environment, written once, for N episodes at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from adafocus_env.envs.actions import Locations, PatchChoice, PatchGrid, checked_choice
from adafocus_env.envs.outcome import Outcome
from adafocus_env.envs.rewards import (
    REWARDS,
    Counterfactuals,
    look_costs,
    random_offsets,
    true_confidence,
)
from adafocus_env.envs.skip_cost import SkipCost, append_cost
from adafocus_env.features.source import EpisodeFeatures, EpisodeStart, FeatureSource


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
        baseline_positions: where the random patch of `reward="random"` may be: at any `"pixel"`, as
            published, or on the `"grid"`; see `random_offsets`.
        skip_cost: subtracted from the reward of each frame that is focused on; where it is random,
            observations show it. None: nothing.

    Attributes:
        features: what the networks make of the rows' clips.
        starts: the episode of each row, None before its first reset.
        skip_costs: `(N,)` float64, price of a look in each row's episode, on the CPU.
        steps: `(N,)` int64, decisions taken so far in each row, on the CPU.
        classifier_state: `(N, S)` after them.

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
        return self.steps.clamp(max=self.num_decisions - 1)

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
        self._previous_confidence[index] = 0.0

    def observe(self) -> Tensor:
        """`(N, C, h, w)` or `(N, C)`: the glance at each row's next frame.

        After the last step there is no next frame and the last one is shown again. The label is
        never in it.
        """
        self.require_started()
        return self._observation(torch.arange(self.num_rows), self.frame_steps)

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
        self.require_started()
        rows = torch.arange(self.num_rows) if rows is None else rows
        steps = self.steps[rows]
        if bool((steps >= self.num_decisions).any()):
            over = rows[steps >= self.num_decisions].tolist()
            raise ResetNeeded(
                f"the episodes of rows {over} are over; reset them before another step"
            )
        choice = self._choice(actions, offsets, focused, (len(rows),))
        patch_vectors, random_vectors = self._focus(rows, steps, choice)
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
            offsets: `(N, T, 2)`, and
            focused: `(N, T)`.

        Raises:
            gymnasium.error.ResetNeeded: an episode has not begun, or not at its first frame.
        """
        self.require_at_start("play")
        shape = (self.num_rows, self.num_decisions)
        choice = self._choice(actions, offsets, focused, shape)
        choice = PatchChoice(choice.offsets.flatten(0, 1), choice.focused.flatten())
        rows, steps = self._all_pairs()
        patch_vectors, random_vectors = self._focus(rows, steps, choice)
        logits, states = self.features.classify_sequence(patch_vectors.unflatten(0, shape))
        logits = logits.flatten(0, 1)
        confidences = true_confidence(self.features, rows, logits).view(shape)
        others = Counterfactuals(
            self.features,
            rows,
            steps,
            _shifted(states).flatten(0, 1),
            self.grid,
            patch_vectors,
            random_vectors,
            focused=choice.focused.to(logits.device),
            confidence=confidences.flatten(),
            previous_confidence=_shifted(confidences).flatten(),
        )
        outcome = self._outcome(choice, logits, others)
        self.classifier_state = states[:, -1].contiguous()
        self._previous_confidence = confidences[:, -1].clone()  # the outcome is the caller's
        self.steps += self.num_decisions
        return Outcome(**{name: value.unflatten(0, shape) for name, value in vars(outcome).items()})

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
        if (actions is None) == (offsets is None) or (offsets is None and focused is not None):
            raise ValueError("give either actions or offsets, and focused with offsets only")
        if actions is not None:
            return self.locations.choice(actions)
        free = self.source.frame_size - self.source.patch_size
        return checked_choice(offsets, focused, shape, free)

    def _focus(
        self, rows: Tensor, steps: Tensor, choice: PatchChoice
    ) -> tuple[Tensor, Tensor | None]:
        """Patch vectors of M choices, and at the random offsets where the reward needs them.

        Both in one batch: a step of few rows is too small a batch for fast convolutions. Skipped
        frames are not in it, and get zeros.
        """
        index = choice.focused.nonzero()[:, 0]
        places = [(rows[index], steps[index], choice.offsets[index])]
        if self._compares_random_patch:
            places.append((rows, steps, self._random_offsets[rows, steps]))
        asked = [torch.cat(parts) for parts in zip(*places, strict=True)]
        vectors = self.features.focus(*asked) if len(asked[0]) else self._no_vectors(0)
        chosen, random = vectors[: len(index)], vectors[len(index) :]
        if len(index) < len(rows):
            everywhere = self._no_vectors(len(rows))
            everywhere[index.to(everywhere.device)] = chosen
            chosen = everywhere
        return chosen, random if self._compares_random_patch else None

    def _no_vectors(self, count: int) -> Tensor:
        return self.classifier_state.new_zeros(count, self.source.num_patch_features)

    def _outcome(self, choice: PatchChoice, logits: Tensor, others: Counterfactuals) -> Outcome:
        baseline = self._reward(others)
        costs = look_costs(others.focused, self.skip_costs[others.rows].to(logits))
        return Outcome(
            rewards=others.confidence - baseline - costs,
            confidences=others.confidence,
            baseline_confidences=baseline,
            logits=logits,
            predicted_labels=logits.argmax(dim=1),
            offsets=choice.offsets,
            focused=choice.focused,
            steps=others.steps,
        )

    def _all_pairs(self) -> tuple[Tensor, Tensor]:
        """All (row, step) pairs, row-major."""
        rows = torch.arange(self.num_rows).repeat_interleave(self.num_decisions)
        return rows, torch.arange(self.num_decisions).repeat(self.num_rows)

    def require_started(self) -> None:
        """Refuse what needs a loaded clip in every row.

        Raises:
            gymnasium.error.ResetNeeded: a row has not been reset.
        """
        missing = [row for row, start in enumerate(self.starts) if start is None]
        if missing:
            raise ResetNeeded(f"call reset first: rows {missing} have no episode yet")

    def require_at_start(self, what: str) -> None:
        """Refuse what only makes sense between episodes.

        Raises:
            gymnasium.error.ResetNeeded: a row is not at the first frame of an episode.
        """
        self.require_started()
        if bool(self.steps.any()):
            raise ResetNeeded(f"{what} needs every row at its first frame; reset first")


def _shifted(steps: Tensor) -> Tensor:
    """`(N, T, ...)` of the step before; zeros at the first."""
    return torch.cat([torch.zeros_like(steps[:, :1]), steps[:, :-1]], dim=1)
