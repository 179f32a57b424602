"""Contest: the policies of a benchmark, judged one by one, as the rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.networks import Recognizer
from agents.baseline_registry import find_baseline
from agents.evaluation import Evaluation
from agents.some_frames import UNIFORM_SKIP
from train.comparison import difference_to, each_draw, over_seeds
from train.conditional_exit import RULES, exit_curve, mean_curve
from train.config import RunConfig
from train.habits import habits
from train.metrics import classification_metrics, reward_summary
from train.policy_bench import Judged, PolicyBench
from train.policy_entries import PolicyEntry
from train.progress import ProgressDisplay
from train.run_context import RunContext

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
        recognizer: Recognizer,
        learned: Mapping[str, Sequence[BasePolicy]],
        own: Mapping[str, Recognizer],
    ):
        self.bench = PolicyBench(recognizer, context, config.split)
        self._config = config
        self._context = context
        self._display = display
        self._recognizer = recognizer
        self._learned = learned
        self._own = own
        # The training split, prepared as for evaluation (False) or for training (True).
        self._train_benches: dict[bool, PolicyBench] = {}
        # By policy; the same in both tables.
        self._on_train: dict[str, Judged] = {}
        self._for_exit: dict[str, Judged] = {}
        self._costs: dict[str, tuple[float, float]] = {}
        self._parts: dict[str, dict[str, float]] = {}
        self._judged: dict[str, Judged] = {}

    def judge(self, entry: PolicyEntry) -> Judged:
        """One policy on the split, and on the training split where that was asked for."""
        learned, own = self._learned[entry.name], self._own.get(entry.name)
        shares = self._shares(entry)
        judged = self.bench.judge(entry, learned, own, self._display, shares=shares)
        self._judged[entry.name] = judged
        policy = learned[0] if learned else None
        kept = float(judged.common.kept().mean())
        self._parts[entry.name] = self.bench.gmacs(entry, policy)
        self._costs[entry.name] = (
            sum(self.bench.gmacs(entry, policy, kept).values()),
            self.bench.executed_gmacs(entry, policy, kept),
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
        kept = [float(part.kept().mean()) for part in each_draw(self._judged[frames.amount].common)]
        return kept if len(kept) == count else [float(np.mean(kept))] * count

    def _train_bench(self, training: bool) -> PolicyBench:
        if training not in self._train_benches:
            self._train_benches[training] = PolicyBench(
                self._recognizer, self._context, "train", training=training
            )
        return self._train_benches[training]

    def table(
        self, entries: Sequence[PolicyEntry], judged: Mapping[str, Judged]
    ) -> list[dict[str, Any]]:
        """`summary` of every policy, with its differences to the others."""
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
                for name in (*REFERENCES, *skipping)
                if name in judged and name != entry.name
            }
            oracle = judged.get(_ORACLE)
            row["regret"] = None
            if oracle is not None and entry.name != _ORACLE:
                row["regret"] = difference_to(oracle.common, item.common)["return"]
            rows.append(row)
        return rows

    def summary(self, entry: PolicyEntry, judged: Judged) -> dict[str, Any]:
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
            "kept_share": float(common.kept().mean()),
            "kept_per_step": common.kept().mean(axis=0).tolist(),
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
            "diagnostics": habits(common, self.bench.env.core.grid),
            "train": self._train_gap(entry, judged, rewards, accuracy),
            "conditional_exit": self._exits(entry, judged),
        }

    def _gmacs(self, entry: PolicyEntry, evaluation: Evaluation) -> npt.NDArray[np.float64]:
        """`(E, T)` 10^9 multiply-adds of each frame: the focuser's where it was kept."""
        parts, kept = self._parts[entry.name], evaluation.kept()
        others = sum(parts.values()) - parts["focuser"]
        spent: npt.NDArray[np.float64] = (others + parts["focuser"] * kept) / kept.shape[1]
        return spent

    def _over_seeds(self, entry: PolicyEntry, judged: Judged) -> dict[str, Any] | None:
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
        judged: Judged,
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

    def _exits(self, entry: PolicyEntry, judged: Judged) -> dict[str, Any] | None:
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
