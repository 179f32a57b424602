"""PatchLocalizationCore: glances alone are observed, so whole episodes can be played at once."""

from __future__ import annotations

import torch
from torch import Tensor

from adafocus_env.envs.actions import PatchChoice
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.outcome import Outcome
from adafocus_env.envs.rewards import Counterfactuals, true_confidence
from adafocus_env.features.source import all_pairs


class PatchLocalizationCore(EpisodeCore):
    """N episodes in which actions never change observations.

    `observe_episode`, then `play`, equals T calls of `transition`.
    """

    def observe_episode(self) -> Tensor:
        """`(N, T, C, h, w)` or `(N, T, C)`: all observations of the episodes, known in advance."""
        self.require_at_start("observe_episode")
        rows, steps = all_pairs(self.num_rows, self.num_decisions)
        observations = self._observation(rows, steps)
        return observations.reshape(self.num_rows, self.num_decisions, *observations.shape[1:])

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
        rows, steps = all_pairs(self.num_rows, self.num_decisions)
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
            previous_confidence=_shifted(confidences, self._prior).flatten(),
        )
        outcome = self._outcome(choice, logits, others)
        self.classifier_state = states[:, -1].contiguous()
        self._previous_confidence = confidences[:, -1].clone()  # the outcome is the caller's
        self.steps += self.num_decisions
        return Outcome(**{name: value.unflatten(0, shape) for name, value in vars(outcome).items()})


def _shifted(steps: Tensor, first: float = 0.0) -> Tensor:
    """`(N, T, ...)` of the step before, and `first` at the first."""
    return torch.cat([torch.full_like(steps[:, :1], first), steps[:, :-1]], dim=1)
