"""Evaluator: a split of videos on which policies are judged one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import AnyRecognizer
from agents.baselines.blind_skipping import BlindSkipping
from agents.baselines.registry import Baseline, find_baseline, make_baseline
from agents.evaluation import Evaluation, evaluate_agent, replay_actions
from agents.flops import executed_multiply_adds
from train.checkpoints.load import check_classes
from train.config.sections import ConfigError
from train.evaluation.flops import agent_multiply_adds, multiply_adds
from train.evaluation.metrics import accuracy_summary
from train.evaluation.policies import PolicyEntry
from train.evaluation.statistics import as_draws
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

RANDOM_OFFSETS = "random_offsets"
_COUNTED_VIDEOS = 16


@dataclass(frozen=True)
class PolicyResult:
    """One policy's looks, seen by the common recognizer and by its own.

    Attributes:
        common: with the recognizer that all policies share; the checkpoints of several seeds are
            its draws.
        own: the same looks with the policy's own stage-3 classifier, or `common` without one.
        has_own: whether there was one.
        seconds: wall-clock time of `common`, decoding included.
    """

    common: Evaluation
    own: Evaluation
    has_own: bool
    seconds: float

    def same_classifier(self) -> PolicyResult:
        """As if there were no classifier of its own."""
        return PolicyResult(self.common, self.common, has_own=False, seconds=self.seconds)

    def seen(self) -> Evaluation:
        """Rewards by the common recognizer, all else by the policy's own."""
        return Evaluation(**{**vars(self.own), "rewards": self.common.rewards})


class Evaluator:
    """A split, the recognizer common to all policies, and the recognizers of their own.

    Args:
        recognizer: of stage 1: rewards are measured with it.
        context: of the run: data, batch of the evaluation, grid, reward, rule of the mean average
            precision.
        split: `"train"`, `"val"` or `"test"`.
        training: its clips as for training, with random crops and flips.

    Attributes:
        videos: the split.
        env: the split before the common recognizer.
    """

    def __init__(
        self, recognizer: AnyRecognizer, context: RunContext, split: str, *, training: bool = False
    ):
        videos, config = context.open_split(split, training=training), context.config
        check_classes(recognizer, videos)
        self.recognizer = recognizer
        self.videos = videos
        self._config = config
        self._rules = context.rules(split)
        self.env = self.make_env(recognizer)

    def check(self, entries: Sequence[PolicyEntry]) -> None:
        """Refuse agents that cannot be made, before the first of them has played for hours.

        Raises:
            ValueError: such as `fixed:49` on a grid of 49 positions.
            ConfigError: patches at any pixel on a bank.
        """
        banked = self._config.features != "live"
        for entry in entries:
            if banked and entry.looker == RANDOM_OFFSETS and not entry.checkpoints:
                raise ConfigError(
                    "patches at random pixels are not in a bank, which holds grid positions only; "
                    "use random, center, greedy_oracle or a policy's folder, or features=live"
                )
            if not entry.checkpoints:
                make_baseline(entry.looker, self.env.core, self.recognizer)

    def judge(
        self,
        entry: PolicyEntry,
        learned: Sequence[BasePolicy],
        own: AnyRecognizer | None,
        display: ProgressDisplay,
        *,
        shares: Sequence[float] = (),
        title: str = "benchmark",
    ) -> PolicyResult:
        """Play the split with a policy's agents, and replay their looks before its own classifier.

        Args:
            entry: the policy.
            learned: its checkpoints; empty for a baseline agent.
            own: recognizer with its own classifier, or None.
            display: progress.
            shares: of the frames that are focused, one a checkpoint, for an entry with `frames`.
            title: of the progress bar.
        """
        draws = self._config.draws if _by_chance(entry) else 1
        episodes = len(self.videos) * draws * max(len(learned), 1) * (1 if own is None else 2)
        with display.part(f"{title}: {entry.name}", episodes) as progress:

            def advance(count: int) -> None:
                for _ in range(count):
                    progress.advance()

            seed, parts = self._config.seed, []
            began = time.perf_counter()
            policies: Sequence[BasePolicy | None] = learned or [None]
            for policy, share in zip(policies, shares or [1.0] * len(policies), strict=True):
                parts.append(
                    evaluate_agent(
                        self.env,
                        self._agent_in(self.env, entry, policy, share),
                        seed=seed,
                        draws=draws,
                        skip_cost=entry.skip_cost,
                        progress=advance,
                    )
                )
            seconds = time.perf_counter() - began
            common = as_draws(parts)
            if own is None:
                return PolicyResult(common, common, has_own=False, seconds=seconds)
            env = self.make_env(own)
            replayed = [replay_actions(env, part, seed=seed, progress=advance) for part in parts]
            return PolicyResult(common, as_draws(replayed), has_own=True, seconds=seconds)

    def accuracy(self, evaluation: Evaluation) -> dict[str, Any]:
        """`accuracy_summary` over the split's labels, by the configured rule."""
        return accuracy_summary(
            evaluation,
            self.videos.label_sets,
            map_rule=self._config.map_rule,
            map_labels=self._config.map_labels,
        )

    def gmacs(
        self, entry: PolicyEntry, policy: BasePolicy | None, kept_share: float = 1.0
    ) -> dict[str, float]:
        """10^9 multiply-adds of one video by part, as the paper counts; an agent is a part.

        An oracle is charged for every position that it tries, the focuser for the frames that are
        focused: this is what inference executes.
        """
        name = entry.looker
        counts = dict(multiply_adds(self.recognizer, policy))
        counts["focuser"] *= kept_share
        if policy is None:
            agent = make_baseline(name, self.env.core, self.recognizer)
            thinking = agent_multiply_adds(agent, self.env.single_observation_space)
            counts.update({"policy": thinking * self.env.num_decisions} if thinking else {})
        if policy is None and _knows_label(name):
            width = int(name.partition(":")[2] or 1)
            counts["focuser"] *= self._config.action_dim
            counts["classifier"] *= self._config.action_dim * width
        return {part: count / 1e9 for part, count in counts.items()}

    def executed_gmacs(
        self, entry: PolicyEntry, policy: BasePolicy | None, kept_share: float = 1.0
    ) -> float:
        """10^9 multiply-adds that the benchmark really computes for a video and draw.

        The patches of the reward baseline are among them; what a feature bank holds is not. Where
        frames are skipped, videos differ, and it is the mean over 16 that are evenly spread.
        """
        videos = [0]
        if kept_share < 1.0:
            count = min(_COUNTED_VIDEOS, len(self.videos))
            videos = np.linspace(0, len(self.videos) - 1, count).round().astype(int).tolist()
        env = self.make_env(self.recognizer, num_envs=1)
        agent = self._agent_in(env, entry, policy, kept_share)
        seed, cost = self._config.seed, entry.skip_cost
        counted = executed_multiply_adds(
            lambda: evaluate_agent(env, agent, seed=seed, skip_cost=cost, videos=videos)
        )
        return counted / 1e9 / len(videos)

    def seen_through(self) -> dict[str, Any]:
        """For the results: where features came from, and what random patches were compared with."""
        return {
            "features": self._config.features,
            "baseline_positions": self._rules["baseline_positions"],
        }

    def make_env(
        self, recognizer: AnyRecognizer, *, num_envs: int | None = None
    ) -> PatchLocalizationVectorEnv:
        """The split before a recognizer, for `evaluate_agent`."""
        rows = num_envs or min(self._config.batch_size or 64, len(self.videos))
        return PatchLocalizationVectorEnv.from_parts(
            recognizer,
            self.videos,
            num_envs=rows,
            autoreset_mode="disabled",
            locations=self._config.locations,
            skip_cost=self._config.skip_cost if self._config.locations == "skip" else None,
            # Without a reward nobody reads them; `conf` needs no patch beside the policy's.
            reward=self._config.reward or "conf",
            **self._rules,
        )

    def _agent_in(
        self,
        env: PatchLocalizationVectorEnv,
        entry: PolicyEntry,
        policy: BasePolicy | None,
        share: float,
    ) -> Baseline | BlindSkipping:
        """The learned policy or the baseline agent for an environment, perhaps in some frames."""
        agent: Baseline = (
            make_baseline(entry.looker, env.core, self.recognizer) if policy is None else policy
        )
        if entry.frames is None:
            return agent
        return BlindSkipping(agent, entry.frames.way, share, env.num_decisions)


def _by_chance(entry: PolicyEntry) -> bool:
    if entry.frames is not None:  # checkpoints are draws already
        return len(entry.checkpoints) < 2
    baseline = None if entry.checkpoints else find_baseline(entry.name)
    return baseline is not None and baseline.by_chance


def _knows_label(name: str) -> bool:
    baseline = find_baseline(name)
    return baseline is not None and baseline.knows_label
