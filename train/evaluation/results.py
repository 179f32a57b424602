"""Contest: the policies of a benchmark, judged one by one, as the rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.networks import AnyRecognizer
from agents.baselines.blind_skipping import UNIFORM_SKIP
from agents.baselines.registry import find_baseline
from agents.evaluation import Evaluation
from train.config.sections import RunConfig
from train.evaluation.diagnostics import diagnostics
from train.evaluation.early_exit import RULES, exit_curve, mean_curve
from train.evaluation.evaluator import Evaluator, PolicyResult
from train.evaluation.metrics import classification_metrics, reward_summary
from train.evaluation.policies import PolicyEntry
from train.evaluation.statistics import difference_to, each_draw, over_seeds
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

# What paired differences and the regret are taken to.
REFERENCES = ("random", "center")
_ORACLE = "greedy_oracle"
_SEED_FIELDS = ("return_mean", "reward_mean", "top1", "map")


class Contest:
    """The policies, what they are judged on, and how that becomes `benchmark.json`.

    Args:
        config: of the command.
        context: its data.
        display: progress.
        recognizer: common to all policies.
        learned: the checkpoints of each policy, loaded; empty for baseline agents.
        own: recognizers of the policies that have one.
    """

    def __init__(
        self,
        config: RunConfig,
        context: RunContext,
        display: ProgressDisplay,
        recognizer: AnyRecognizer,
        learned: Mapping[str, Sequence[BasePolicy]],
        own: Mapping[str, AnyRecognizer],
    ):
        self.bench = Evaluator(recognizer, context, config.split)
        self._config = config
        self._context = context
        self._display = display
        self._recognizer = recognizer
        self._learned = learned
        self._own = own
        # The training split, prepared as for evaluation (False) or for training (True).
        self._train_benches: dict[bool, Evaluator] = {}
        # By policy; the same in both tables.
        self._on_train: dict[str, PolicyResult] = {}
        self._for_exit: dict[str, PolicyResult] = {}
        self._costs: dict[str, tuple[float, float]] = {}
        self._parts: dict[str, dict[str, float]] = {}
        self._judged: dict[str, PolicyResult] = {}

    def judge(self, entry: PolicyEntry) -> PolicyResult:
        """One policy on the split, and on the training split where that was asked for."""
        learned, own = self._learned[entry.name], self._own.get(entry.name)
        shares = self._shares(entry)
        judged = self.bench.judge(entry, learned, own, self._display, shares=shares)
        self._judged[entry.name] = judged
        policy = learned[0] if learned else None
        focused = float(judged.common.focused().mean())
        self._parts[entry.name] = self.bench.gmacs(entry, policy)
        self._costs[entry.name] = (
            sum(self.bench.gmacs(entry, policy, focused).values()),
            self.bench.executed_gmacs(entry, policy, focused),
        )
        baseline = None if learned else find_baseline(entry.looker)
        if entry.frames is not None or (baseline is not None and baseline.knows_label):
            return judged
        passes = {
            "train_gap": (self._config.train_gap, self._on_train, False),
            # The published thresholds come from augmented training clips.
            "conditional_exit": (self._config.conditional_exit, self._for_exit, True),
        }
        for title, (wanted, found, training) in passes.items():
            if wanted:
                bench = self._train_bench(training)
                found[entry.name] = bench.judge(
                    entry, learned, own, self._display, shares=shares, title=title
                )
        return judged

    def _shares(self, entry: PolicyEntry) -> list[float]:
        """Of the frames that an entry with `frames` keeps, one a checkpoint."""
        frames, count = entry.frames, max(len(entry.checkpoints), 1)
        if frames is None:
            return []
        if isinstance(frames.amount, float):
            per_video = self.bench.env.num_decisions if frames.way == UNIFORM_SKIP else 1
            return [frames.amount / per_video] * count
        focused = [
            float(part.focused().mean()) for part in each_draw(self._judged[frames.amount].common)
        ]
        return focused if len(focused) == count else [float(np.mean(focused))] * count

    def _train_bench(self, training: bool) -> Evaluator:
        if training not in self._train_benches:
            self._train_benches[training] = Evaluator(
                self._recognizer, self._context, "train", training=training
            )
        return self._train_benches[training]

    def table(
        self, entries: Sequence[PolicyEntry], judged: Mapping[str, PolicyResult]
    ) -> list[dict[str, Any]]:
        """`summary` of every policy, with its differences to the references.

        A learned policy is also compared with each learned one that is named after it.
        """
        rows = []
        for entry in entries:
            item = judged[entry.name]
            row = self.summary(entry, item)
            skipping = [
                other.name
                for other in entries
                if other.frames is not None and other.frames.amount == entry.name
            ]
            row["differences"] = {
                name: difference_to(item.seen(), judged[name].seen())
                for name in dict.fromkeys((*REFERENCES, *learned_after(entry, entries), *skipping))
                if name in judged and name != entry.name
            }
            oracle = judged.get(_ORACLE)
            row["regret"] = None
            if oracle is not None and entry.name != _ORACLE:
                row["regret"] = difference_to(oracle.common, item.common)["return"]
            rows.append(row)
        return rows

    def summary(self, entry: PolicyEntry, judged: PolicyResult) -> dict[str, Any]:
        """The fields of one policy in `benchmark.json`, but for comparisons with others."""
        common, accuracy = judged.common, self.bench.accuracy(judged.own)
        rewards = reward_summary(common, self.bench.videos)
        num_frames = self.bench.env.num_decisions
        counted, executed = self._costs[entry.name]
        return {
            "name": entry.name,
            **rewards,
            **accuracy,
            "gmacs_per_video": counted,
            "classifier": "own" if judged.has_own else "common",
            "learned": entry.is_learned,
            "looker": entry.looker,
            "skip_cost": entry.skip_cost,
            "kept_share": float(common.focused().mean()),
            "kept_per_step": common.focused().mean(axis=0).tolist(),
            "gmacs_per_step": self._gmacs(entry, common).mean(axis=0).tolist(),
            "confidence_mean": float(judged.own.confidences.mean()),
            "checkpoints": list(entry.checkpoints),
            "return_ci95": [bound * num_frames for bound in rewards["reward_ci95"]],
            "reward_per_step": common.rewards.mean(axis=0).tolist(),
            "confidence_per_step": judged.own.confidences.mean(axis=0).tolist(),
            "gmacs_executed_per_video": executed,
            "seconds": judged.seconds,
            "videos_per_second": len(common.label) / judged.seconds,
            "over_seeds": self._over_seeds(entry, judged),
            "diagnostics": diagnostics(common, self.bench.env.core.grid),
            "train": self._train_gap(entry, judged, rewards, accuracy),
            "conditional_exit": self._exits(entry, judged),
        }

    def _gmacs(self, entry: PolicyEntry, evaluation: Evaluation) -> npt.NDArray[np.float64]:
        """`(E, T)` 10^9 multiply-adds of each frame: the focuser's where it was kept."""
        parts, focused = self._parts[entry.name], evaluation.focused()
        others = sum(parts.values()) - parts["focuser"]
        spent: npt.NDArray[np.float64] = (others + parts["focuser"] * focused) / focused.shape[1]
        return spent

    def _over_seeds(self, entry: PolicyEntry, judged: PolicyResult) -> dict[str, Any] | None:
        count = len(entry.checkpoints)
        if count < 2:
            return None
        values: dict[str, list[float]] = {name: [] for name in _SEED_FIELDS}
        for common, own in zip(each_draw(judged.common), each_draw(judged.own), strict=True):
            rewards = common.rewards
            metrics = self.bench.accuracy(own)
            found = {"reward_mean": rewards.mean(), "return_mean": rewards.sum(axis=1).mean()}
            for name in _SEED_FIELDS:
                values[name].append(float({**metrics, **found}[name]))
        return {name: over_seeds(found) for name, found in values.items()}

    def _train_gap(
        self,
        entry: PolicyEntry,
        judged: PolicyResult,
        rewards: Mapping[str, Any],
        accuracy: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """The same numbers on the training split, and how much better they are there."""
        on_train = self._on_train.get(entry.name)
        if on_train is None:
            return None
        evaluation = on_train.own if judged.has_own else on_train.common
        metrics = self._train_bench(False).accuracy(evaluation)
        found = {
            "return_mean": float(on_train.common.rewards.sum(axis=1).mean()),
            "top1": float(metrics["top1"]),
            "map": float(metrics["map"]),
        }
        here = {**rewards, **accuracy}
        return {**found, **{f"{name}_gap": value - here[name] for name, value in found.items()}}

    def _exits(self, entry: PolicyEntry, judged: PolicyResult) -> dict[str, Any] | None:
        on_train = self._for_exit.get(entry.name)
        if on_train is None:
            return None
        train = on_train.own if judged.has_own else on_train.common
        pairs = list(zip(each_draw(train), each_draw(judged.own), strict=True))
        return {
            rule: mean_curve(
                [
                    exit_curve(
                        seen.logits,
                        here.logits,
                        rule=rule,
                        gmacs=self._gmacs(entry, here),
                        metrics=self._exit_metrics,
                    )
                    for seen, here in pairs
                ]
            )
            for rule in RULES
        }

    def _exit_metrics(self, logits: npt.NDArray[np.float32]) -> dict[str, float]:
        found = classification_metrics(
            logits,
            self.bench.videos.label_sets,
            map_rule=self._config.map_rule,
            map_labels=self._config.map_labels,
        )
        return {name: float(found[name]) for name in ("top1", "map")}


def learned_after(entry: PolicyEntry, entries: Sequence[PolicyEntry]) -> list[str]:
    """Names of the learned policies below a learned one; empty for a baseline agent."""
    if not entry.checkpoints:
        return []
    names = [other.name for other in entries]
    return [other.name for other in entries[names.index(entry.name) + 1 :] if other.checkpoints]
