"""A policy that is judged, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stable_baselines3.common.policies import BasePolicy

from adafocus_env.networks import AnyRecognizer
from agents.evaluation import Evaluation
from train.evaluation.policies import PolicyEntry


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy and the networks that it names.

    Attributes:
        entry: the policy.
        checkpoints: the learned ones; empty for a baseline agent.
        own: recognizer with a classifier of its own, or None.
    """

    entry: PolicyEntry
    checkpoints: Sequence[BasePolicy]
    own: AnyRecognizer | None

    @property
    def first(self) -> BasePolicy | None:
        """Of the checkpoints, which all cost the same."""
        return self.checkpoints[0] if self.checkpoints else None


@dataclass(frozen=True)
class PolicyResult:
    """One policy's looks, seen by the common recognizer and by its own.

    Attributes:
        common: with the recognizer that all policies share; the checkpoints of several seeds are
            its draws.
        own: the same looks with the policy's own stage-3 classifier, or `common` without one.
        has_own: whether there was one.
        seconds: wall-clock time of `common`, decoding included.
        random: random looks before the classifiers of `common`, where these are not the common
            one; else None.
    """

    common: Evaluation
    own: Evaluation
    has_own: bool
    seconds: float
    random: Evaluation | None = None

    @property
    def focused_share(self) -> float:
        """Of the frames, 0..1."""
        return float(self.common.focused().mean())

    def same_classifier(self) -> PolicyResult:
        """As if there were no classifier of its own."""
        return replace(self, own=self.common, has_own=False)

    def seen(self) -> Evaluation:
        """Rewards by the common recognizer, all else by the policy's own."""
        return Evaluation(**{**vars(self.own), "rewards": self.common.rewards})
