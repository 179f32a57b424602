"""Results: what a benchmark measures of each policy, and the rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from adafocus_env.envs import ActiveVisionVectorEnv
from agents.baselines.registry import BEST_FIXED
from agents.evaluation import Evaluation, log_likelihoods
from train.config.commands import BenchmarkConfig
from train.evaluation.diagnostics import diagnostics
from train.evaluation.early_exit import RULES, belief_curve, exit_curve, mean_curve
from train.evaluation.evaluator import Evaluator
from train.evaluation.flops import Costs
from train.evaluation.judged_policy import LoadedPolicy, PolicyResult
from train.evaluation.metrics import reward_summary, top_k
from train.evaluation.policies import PolicyEntry
from train.evaluation.statistics import difference_to, each_draw, over_seeds
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

# What paired differences and the regret are taken to.
_REFERENCES = ("random", "center", BEST_FIXED, "motion")
_ORACLE = "greedy_oracle"
_SEED_FIELDS = ("return_mean", "reward_mean", "top1", "map")


@dataclass(frozen=True)
class Measured:
    """What is measured of one policy.

    Attributes:
        entry: the policy.
        result: on the split.
        costs: of a video of the split.
        on_train: on the training split, prepared as for evaluation, if that was asked for.
        for_exit: on the training split, prepared as for training, likewise.
    """

    entry: PolicyEntry
    result: PolicyResult
    costs: Costs
    on_train: PolicyResult | None
    for_exit: PolicyResult | None


@dataclass(frozen=True)
class Results:
    """All that a benchmark measured; the rows of its tables are computed from it.

    Attributes:
        measured: each policy by name, in the order of the tables.
        evaluator: of the split.
        train: of the training split, prepared as for evaluation, if that was asked for.
    """

    measured: Mapping[str, Measured]
    evaluator: Evaluator
    train: Evaluator | None

    def evaluations(self) -> dict[str, Evaluation]:
        """What each policy looked at, and what that led to."""
        return {name: item.result.seen() for name, item in self.measured.items()}

    def rows(self, *, same_classifier: bool = False) -> list[dict[str, Any]]:
        """The policies' entries in `benchmark.json`.

        Args:
            same_classifier: as if no policy had a classifier of its own.
        """
        results = {
            name: item.result.same_classifier() if same_classifier else item.result
            for name, item in self.measured.items()
        }
        return [
            {**self._row(item, results[name]), **self._compared(name, results)}
            for name, item in self.measured.items()
        ]

    def _row(self, item: Measured, result: PolicyResult) -> dict[str, Any]:
        """What is said of one policy alone."""
        entry, common, costs = item.entry, result.common, item.costs
        accuracy, core = self.evaluator.accuracy(result.own), self.evaluator.env.core
        rewards = reward_summary(common, self.evaluator.videos)
        exits = self._belief_exits(item, result)
        return {
            "name": entry.name,
            **rewards,
            **accuracy,
            "gmacs_per_video": costs.total,
            "classifier": "own" if result.has_own else "common",
            "learned": entry.is_learned,
            "knows_label": entry.knows_label,
            "agent": entry.agent,
            "family": entry.family,
            "blind_frames": None if entry.frames is None else entry.frames.way,
            "skip_cost": entry.skip_cost,
            "kept_share": result.focused_share,
            "kept_per_step": common.focused().mean(axis=0).tolist(),
            "gmacs_per_step": costs.per_step(common.focused()).mean(axis=0).tolist(),
            "confidence_mean": float(result.own.confidences.mean()),
            "checkpoints": list(entry.checkpoints),
            "return_ci95": [bound * core.num_decisions for bound in rewards["reward_ci95"]],
            "reward_per_step": common.rewards.mean(axis=0).tolist(),
            "confidence_per_step": result.own.confidences.mean(axis=0).tolist(),
            "gmacs_executed_per_video": costs.executed,
            "seconds": result.seconds,
            "videos_per_second": len(common.label) / result.seconds,
            "over_seeds": self._over_seeds(entry, result),
            "per_seed": self._per_seed(entry, result, exits),
            "diagnostics": diagnostics(common, core.grid),
            "train": self._train_gap(item, result, {**rewards, **accuracy}),
            "conditional_exit": self._exits(item, result),
            "belief_exit": mean_curve(exits) if exits else None,
        }

    def _compared(self, name: str, results: Mapping[str, PolicyResult]) -> dict[str, Any]:
        """Differences to others on the same videos."""
        entries = {other: item.entry for other, item in self.measured.items()}
        here = results[name]
        others = compared_with(name, entries)
        seen = {other: results[other].seen() for other in others}
        if here.random is not None:  # no other looks were before the same classifiers
            others, seen = ["random"], {"random": here.random}
        regret = None
        if _ORACLE in results and name != _ORACLE and here.random is None:
            regret = difference_to(results[_ORACLE].common, here.common)["return"]
        blind: dict[str, str] = {}
        for other in others:
            frames = entries[other].frames
            if frames is not None:
                blind.setdefault(frames.way, other)
        return {
            "differences": {name: difference_to(here.seen(), seen[name]) for name in others},
            "blind_references": blind,
            "regret": regret,
        }

    def _per_seed(
        self, entry: PolicyEntry, result: PolicyResult, exits: Sequence[list[dict[str, Any]]]
    ) -> list[dict[str, Any]] | None:
        """The curves of each checkpoint, whose means the row has."""
        if not entry.checkpoints:
            return None
        return [
            {
                "top1_per_step": own.correct().mean(axis=0).tolist(),
                "kept_share": float(own.focused().mean()),
                "log_likelihood": float(own.log_likelihoods()[:, -1].mean()),
                "belief_exit": curve,
            }
            for own, curve in zip_longest(each_draw(result.own), exits)
        ]

    def _over_seeds(self, entry: PolicyEntry, result: PolicyResult) -> dict[str, Any] | None:
        if len(entry.checkpoints) < 2:
            return None
        values: dict[str, list[float]] = {name: [] for name in _SEED_FIELDS}
        for common, own in zip(each_draw(result.common), each_draw(result.own), strict=True):
            rewards = common.rewards
            found = {"reward_mean": rewards.mean(), "return_mean": rewards.sum(axis=1).mean()}
            found |= self.evaluator.accuracy(own)
            for name in _SEED_FIELDS:
                values[name].append(float(found[name]))
        return {name: over_seeds(numbers) for name, numbers in values.items()}

    def _train_gap(
        self, item: Measured, result: PolicyResult, here: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """The same numbers on the training split, and how much better they are there."""
        if item.on_train is None or self.train is None:
            return None
        there = item.on_train if result.has_own else item.on_train.same_classifier()
        accuracy = self.train.accuracy(there.own)
        found = {
            "return_mean": float(there.common.rewards.sum(axis=1).mean()),
            "top1": float(accuracy["top1"]),
            "map": float(accuracy["map"]),
        }
        return {**found, **{f"{name}_gap": value - here[name] for name, value in found.items()}}

    def _exits(self, item: Measured, result: PolicyResult) -> dict[str, Any] | None:
        if item.for_exit is None:
            return None
        train = item.for_exit if result.has_own else item.for_exit.same_classifier()
        pairs = list(zip(each_draw(train.own), each_draw(result.own), strict=True))
        return {
            rule: mean_curve(
                [
                    exit_curve(
                        seen.logits,
                        here.logits,
                        rule=rule,
                        gmacs=item.costs.per_step(here.focused()),
                        metrics=self._exit_metrics,
                    )
                    for seen, here in pairs
                ]
            )
            for rule in RULES
        }

    def _belief_exits(self, item: Measured, result: PolicyResult) -> list[list[dict[str, Any]]]:
        """The curve of each draw of a policy of a closed loop, which may end after any look."""
        if not isinstance(self.evaluator.env, ActiveVisionVectorEnv) or not item.entry.plays_all:
            return []
        return [
            belief_curve(
                here.logits,
                here.focused(),
                gmacs=item.costs.per_step(here.focused()),
                metrics=partial(_quick_metrics, here.label),
            )
            for here in each_draw(result.own)
        ]

    def _exit_metrics(self, logits: npt.NDArray[Any]) -> dict[str, float]:
        found = self.evaluator.classification(logits)
        return {name: float(found[name]) for name in ("top1", "map")}


def _quick_metrics(
    labels: npt.NDArray[np.int64], logits: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Those that do not take longer than playing: curves have many points."""
    likely = float(log_likelihoods(logits, labels).mean())
    return {"top1": top_k(logits, labels, 1), "log_likelihood": likely}


def measure(
    policies: Sequence[LoadedPolicy],
    evaluator: Evaluator,
    context: RunContext[BenchmarkConfig],
    display: ProgressDisplay,
) -> Results:
    """Play the split with every policy, and the training split where that was asked for.

    Args:
        policies: in the order of the tables; one that focuses on as many frames as another comes
            after that.
        evaluator: of the split.
        context: what was asked for, and the training split.
        display: progress.
    """
    config, recognizer = context.config, evaluator.recognizer
    train = Evaluator(recognizer, context, "train") if config.train_gap else None
    augmented = None
    if config.conditional_exit:  # the published thresholds come from augmented training clips
        augmented = Evaluator(recognizer, context, "train", training=True)
    results: dict[str, PolicyResult] = {}
    measured: dict[str, Measured] = {}
    for policy in policies:
        entry, name = policy.entry, policy.entry.name
        results[name] = result = evaluator.evaluate(
            policy, display, before=results, draws=config.draws, title="benchmark"
        )
        on_train = for_exit = None
        if entry.plays_all and not entry.knows_label:
            if train is not None:
                on_train = train.evaluate(policy, display, draws=config.draws, title="train_gap")
            if augmented is not None:
                for_exit = augmented.evaluate(
                    policy, display, draws=config.draws, title="conditional_exit"
                )
        costs = evaluator.costs(policy, result.common.focused())
        measured[name] = Measured(entry, result, costs, on_train, for_exit)
    return Results(measured, evaluator, train)


def compared_with(name: str, entries: Mapping[str, PolicyEntry]) -> list[str]:
    """Names of the policies that differences are taken to: the references first.

    A learned policy is also compared with each learned one that is named after it, and any policy
    with those that focus on as many frames without having seen them.
    """
    wanted = [reference for reference in _REFERENCES if reference in entries]
    if entries[name].checkpoints:
        after = list(entries)[list(entries).index(name) + 1 :]
        wanted += [other for other in after if entries[other].checkpoints]
    for other, entry in entries.items():
        if entry.frames is not None and entry.frames.amount == name:
            wanted.append(other)
    return [other for other in dict.fromkeys(wanted) if other != name]
