"""Evaluator: a split of videos on which policies are judged, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.envs import ActiveVisionVectorEnv
from adafocus_env.networks import AnyRecognizer
from agents.baselines.blind_skipping import UNIFORM_SKIP, BlindSkipping
from agents.baselines.oracles import GreedyOracle
from agents.baselines.registry import (
    BEST_FIXED,
    CROSS_ORACLE,
    FULL_FRAME,
    Baseline,
    make_baseline,
)
from agents.baselines.simple import RandomOffsets, center_agent
from agents.baselines.stopping import UntilSure
from agents.evaluation import Evaluation, VectorEnvironment, evaluate_agent, replay_actions
from agents.flops import executed_multiply_adds
from agents.loops import check_loop_policy
from train.checkpoints.load import check_classes, load_configured, load_fitting_policy
from train.config.judging import JudgingSection
from train.config.keys import ConfigError
from train.config.learning import MetricsSection
from train.evaluation import cross_oracle
from train.evaluation.flops import Costs, StepCosts, inference_multiply_adds
from train.evaluation.judged_policy import LoadedPolicy, PolicyResult
from train.evaluation.judged_split import JudgedSplit, find_best_fixed
from train.evaluation.metrics import accuracy_summary, classification_metrics
from train.evaluation.policies import PolicyEntry, recognizer_source
from train.evaluation.statistics import as_draws, each_draw
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

_COUNTED_VIDEOS = 16


class Evaluator:
    """A split, and the recognizer common to all policies.

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
        self,
        recognizer: AnyRecognizer,
        context: RunContext[JudgingSection],
        split: str,
        *,
        training: bool = False,
    ):
        self.recognizer = recognizer
        self._split = JudgedSplit(context, split, training=training)
        self.videos = self._split.videos
        check_classes(recognizer, self.videos)
        self._context = context
        self._config = context.config
        self._best_fixed: int | None = None
        self.env = context.closing(self._split.env(recognizer, len(self.videos)))

    @classmethod
    def open(cls, entries: Sequence[PolicyEntry], context: RunContext[JudgingSection]) -> Evaluator:
        """The configured split before the recognizer of `resume=`, or of a policy's run."""
        source = recognizer_source(context.config, entries)
        recognizer = load_configured(source, context.config, str(context.device))
        return cls(recognizer, context, context.config.split)

    def load(self, entry: PolicyEntry) -> LoadedPolicy:
        """Read what a policy names; refuse one that could not play, before others do for hours.

        Raises:
            ConfigError: there is no such policy, or its patches lie at any pixel and there is a
                bank.
            CheckpointError: it does not fit the recognizer or the grid.
            ValueError: such as `fixed:49` on a grid of 49 positions.
        """
        config = self._config
        of_patches = (BEST_FIXED, CROSS_ORACLE, FULL_FRAME)
        if config.env != "patch" and entry.stem.partition(":")[0] in of_patches:
            raise ConfigError(f"{entry.stem} is for env=patch; leave it out of policies=")
        if entry.stem == CROSS_ORACLE and config.halves is None:
            raise ConfigError(
                "cross_oracle needs halves=[RUN,RUN], two runs of stage 1 on two halves of the "
                "training videos; 'adafocus run' makes them"
            )
        if entry.baseline is not None and entry.baseline.make is not None:
            agent = make_baseline(entry.stem, self.env.core, self.recognizer)
            if isinstance(agent, RandomOffsets) and config.features != "live":
                raise ConfigError(
                    "patches at random pixels are not in a bank, which holds grid positions only; "
                    "use random, center, greedy_oracle or a policy's folder, or features=live"
                )
        grid = self.env.core.grid
        checkpoints = [
            load_fitting_policy(path, grid, self.recognizer, trust=config.trust, env=config.env)
            for path in entry.checkpoints
        ]
        if isinstance(self.env, ActiveVisionVectorEnv):
            for checkpoint in checkpoints:
                check_loop_policy(checkpoint, self.env)
        own = None
        if entry.own is not None:
            place = str(self.recognizer.device)
            own = load_configured(entry.own, config, place)
        return LoadedPolicy(entry, checkpoints, own)

    def evaluate(
        self,
        policy: LoadedPolicy,
        display: ProgressDisplay,
        *,
        before: Mapping[str, PolicyResult] | None = None,
        videos: Sequence[int] | None = None,
        draws: int = 1,
        title: str,
    ) -> PolicyResult:
        """Play with a policy's agents, and replay their looks before its own classifier.

        Args:
            policy: from `load`.
            display: progress.
            before: results on the same videos, by name, for a policy that focuses on as many frames
                as another.
            videos: of the split; None takes all.
            draws: of an agent of chance.
            title: of the progress bar.
        """
        entry, seed = policy.entry, self._config.seed
        count = len(self.videos) if videos is None else len(videos)
        if entry.stem == CROSS_ORACLE:
            return self._cross_judged(display, videos, count, draws, title)
        if entry.stem == BEST_FIXED and self._best_fixed is None:
            self._best_fixed = find_best_fixed(self.recognizer, self._context, display, title)
        draws = draws if entry.by_chance else 1
        policies: Sequence[BasePolicy | None] = policy.checkpoints or [None]
        episodes = count * draws * len(policies) * (1 if policy.own is None else 2)
        with (
            self._env_of(entry, count) as env,
            display.part(f"{title}: {entry.name}", episodes) as progress,
        ):

            def advance(done: int) -> None:
                progress.advance(count=done)

            parts = []
            began = time.perf_counter()
            shares = self._focused_shares(entry, before or {})
            for learned, share in zip(policies, shares, strict=True):
                parts.append(
                    evaluate_agent(
                        env,
                        self._blindly(self._agent(env, entry, learned), entry, share),
                        seed=seed,
                        draws=draws,
                        skip_cost=entry.skip_cost,
                        videos=videos,
                        progress=advance,
                    )
                )
            seconds = time.perf_counter() - began
            common = as_draws(parts)
            if policy.own is None:
                return PolicyResult(common, common, has_own=False, seconds=seconds)
            with closing(self._split.env_of(entry, policy.own, count)) as own:
                replayed = [
                    replay_actions(own, part, seed=seed, progress=advance) for part in parts
                ]
            return PolicyResult(common, as_draws(replayed), has_own=True, seconds=seconds)

    @property
    def _map_rule(self) -> dict[str, Any]:
        config = self._config
        assert isinstance(config, MetricsSection)  # `record` judges nobody
        return {"map_rule": config.map_rule, "map_labels": config.map_labels}

    def accuracy(self, evaluation: Evaluation) -> dict[str, Any]:
        """`accuracy_summary` over the split's labels, by the configured rule."""
        return accuracy_summary(evaluation, self.videos.label_sets, **self._map_rule)

    def classification(self, logits: npt.NDArray[np.float32]) -> dict[str, Any]:
        """`classification_metrics` of one row of logits a video, by the configured rule."""
        return classification_metrics(logits, self.videos.label_sets, **self._map_rule)

    def costs(self, policy: LoadedPolicy, focused: npt.NDArray[np.bool_]) -> Costs:
        """What a policy costs whose decisions were `focused` on patches, `(E, T)`, or not."""
        with self._env_of(policy.entry, len(self.videos)) as env:
            agent = self._agent(env, policy.entry, policy.first)
            counts = inference_multiply_adds(self.recognizer, agent, env)
        looks = self.env.core.looks_per_frame
        for part in counts.keys() - {"glancer"}:
            counts[part] *= looks
        whole = {part: count / 1e9 for part, count in counts.items()}
        until_sure = policy.entry.until is not None
        steps = StepCosts(whole, looks, ends=self._config.stop, until_sure=until_sure)
        executed = self._executed(policy, float(focused.mean()))
        return Costs(steps.mean_spent(focused), steps, executed)

    def about(self) -> dict[str, Any]:
        """What results need to be understood: where they come from, and by which rules."""
        config = self._config
        return {
            "videos": len(self.videos),
            "split": config.split,
            "seed": config.seed,
            "dataset": config.dataset,
            "reward": config.reward,
            "features": config.features,
            "baseline_positions": self._split.rules["baseline_positions"],
            "recognizer_sha256": self.recognizer.fingerprint(),
            **self._map_rule,
        }

    def _executed(self, policy: LoadedPolicy, focused_share: float) -> float:
        entry, count = policy.entry, 1
        if focused_share < 1.0:
            count = min(_COUNTED_VIDEOS, len(self.videos))
        videos = np.linspace(0, len(self.videos) - 1, count).round().astype(int).tolist()
        with self._env_of(entry, 1) as env:
            agent = self._blindly(self._agent(env, entry, policy.first), entry, focused_share)
            seed, cost = self._config.seed, entry.skip_cost
            counted = executed_multiply_adds(
                lambda: evaluate_agent(env, agent, seed=seed, skip_cost=cost, videos=videos)
            )
        return counted / 1e9 / count

    @contextmanager
    def _env_of(self, entry: PolicyEntry, episodes: int) -> Iterator[VectorEnvironment]:
        """As a policy sees the split before the common recognizer."""
        if episodes == len(self.videos) and not entry.stem.startswith(FULL_FRAME):
            yield self.env
            return
        with closing(self._split.env_of(entry, self.recognizer, episodes)) as env:
            yield env

    def _cross_judged(
        self,
        display: ProgressDisplay,
        videos: Sequence[int] | None,
        count: int,
        draws: int,
        title: str,
    ) -> PolicyResult:
        """Two classifiers' oracles, each judged by the other one."""
        config, place = self._config, str(self.recognizer.device)
        episodes = count * cross_oracle.EPISODES
        with ExitStack() as opened, display.part(f"{title}: {CROSS_ORACLE}", episodes) as progress:
            halves = [
                opened.enter_context(
                    closing(self._split.env(load_configured(run, config, place), count))
                )
                for run in config.halves or ()
            ]
            began = time.perf_counter()
            found = cross_oracle.cross_oracle(
                halves,
                seed=config.seed,
                draws=draws,
                videos=videos,
                progress=lambda done: progress.advance(count=done),
            )
        took = time.perf_counter() - began
        return PolicyResult(found.oracle, found.oracle, False, took, found.random)

    def _focused_shares(
        self, entry: PolicyEntry, before: Mapping[str, PolicyResult]
    ) -> list[float]:
        """Of the frames that a policy is asked in, one a checkpoint."""
        frames, count = entry.frames, max(len(entry.checkpoints), 1)
        if frames is None:
            return [1.0] * count
        if isinstance(frames.amount, float):
            per_video = self.env.num_decisions if frames.way == UNIFORM_SKIP else 1
            return [frames.amount / per_video] * count
        draws = each_draw(before[frames.amount].common)
        focused = [float(draw.focused().mean()) for draw in draws]
        return focused if len(focused) == count else [float(np.mean(focused))] * count

    def _agent(
        self, env: VectorEnvironment, entry: PolicyEntry, learned: BasePolicy | None
    ) -> Baseline | BasePolicy:
        """Who says where to look in an environment."""
        if learned is not None:
            return learned
        if entry.stem == CROSS_ORACLE:
            return GreedyOracle(env.core)
        if entry.stem == BEST_FIXED:
            position = self._best_fixed or 0  # any, where only the cost is asked for
            return make_baseline(f"fixed:{position}", env.core, self.recognizer)
        if entry.stem.partition(":")[0] == FULL_FRAME:
            return center_agent(env.core)
        return make_baseline(entry.stem, env.core, self.recognizer)

    def _blindly(
        self, agent: Baseline | BasePolicy, entry: PolicyEntry, share: float
    ) -> Baseline | BlindSkipping | UntilSure:
        """The agent, in a share of the frames or until it is sure, where that was asked for."""
        if entry.until is not None:
            return UntilSure(agent, entry.until)
        if entry.frames is None:
            return agent
        return BlindSkipping(agent, entry.frames.way, share, self.env.num_decisions)
