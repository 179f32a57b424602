"""Benchmark: policies on every video of a split, each judged fairly."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.policies import BasePolicy

from adafocus_env.atomic_files import atomic_path
from adafocus_env.envs import PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer
from agents.baselines import Agent, GreedyOracle, RandomAgent, center_agent
from agents.evaluation import Evaluation, evaluate_agent, replay_actions
from train.benchmark_report import write_report
from train.checkpoints import check_classes, check_sizes, load_fitting_policy, load_recognizer
from train.config import ConfigError, RunConfig
from train.flops import multiply_adds
from train.metrics import accuracy_summary, reward_summary
from train.policy_video import write_policy_video
from train.progress import ProgressDisplay
from train.run_context import RunContext

log = logging.getLogger(__name__)

BASELINES = ("random", "center", "greedy_oracle")


@dataclass(frozen=True)
class Judged:
    """One policy's looks, seen by the common recognizer and by its own.

    Attributes:
        common: with the recognizer that all policies share.
        own: the same looks with the policy's own stage-3 classifier, or `common` without one.
        has_own: whether there was one.
    """

    common: Evaluation
    own: Evaluation
    has_own: bool


class PolicyBench:
    """A split, the recognizer common to all policies, and the recognizers of their own.

    Args:
        recognizer: of stage 1: rewards are measured with it.
        context: of the run: split, features, batch of the evaluation, grid, reward, rule of the
            mean average precision.

    Attributes:
        videos: the split.
        env: the split before the common recognizer.
    """

    def __init__(self, recognizer: Recognizer, context: RunContext):
        config = context.config
        videos = context.open_split(config.split)
        check_classes(recognizer, videos)
        self.recognizer = recognizer
        self.videos = videos
        self._config = config
        self._rules = context.rules(config.split)
        self.env = self.make_env(recognizer)

    def agent(self, name: str, policy: BasePolicy | None) -> Agent:
        """The agent of a policy's name; `policy` is the learned one."""
        if name == "random":
            return RandomAgent(self.env.single_action_space)
        if name == "center":
            return center_agent(self.env.core)
        if name == "greedy_oracle":
            return GreedyOracle(self.env.core)
        assert policy is not None
        return policy

    def judge(
        self, name: str, agent: Agent, own: Recognizer | None, display: ProgressDisplay
    ) -> Judged:
        """Play the split with an agent, and replay its looks before its own classifier."""
        draws = self._config.draws if name == "random" else 1
        episodes = len(self.videos) * draws * (1 if own is None else 2)
        with display.part(f"benchmark: {name}", episodes) as progress:

            def advance(count: int) -> None:
                for _ in range(count):
                    progress.advance()

            seed = self._config.seed
            common = evaluate_agent(self.env, agent, seed=seed, draws=draws, progress=advance)
            if own is None:
                return Judged(common, common, has_own=False)
            env = self.make_env(own)
            return Judged(
                common, replay_actions(env, common, seed=seed, progress=advance), has_own=True
            )

    def summary(self, name: str, judged: Judged, policy: BasePolicy | None) -> dict[str, Any]:
        """The fields of one policy in `benchmark.json`."""
        return {
            "name": name,
            **reward_summary(judged.common, self.videos),
            **self.accuracy(judged.own),
            "gmacs_per_video": sum(self.gmacs(name, policy).values()),
            "classifier": "own" if judged.has_own else "common",
        }

    def accuracy(self, evaluation: Evaluation) -> dict[str, Any]:
        """`accuracy_summary` over the split's labels, by the configured rule."""
        return accuracy_summary(
            evaluation,
            self.videos.label_sets,
            map_rule=self._config.map_rule,
            map_labels=self._config.map_labels,
        )

    def gmacs(self, name: str, policy: BasePolicy | None) -> dict[str, float]:
        """10^9 multiply-adds of one video by part; a learned policy is a part."""
        counts = dict(multiply_adds(self.recognizer, policy if name == "learned" else None))
        if name == "greedy_oracle":
            for part in ("focuser", "classifier"):
                counts[part] *= self._config.action_dim
        return {part: count / 1e9 for part, count in counts.items()}

    def seen_through(self) -> dict[str, Any]:
        """For the results: where features came from, and what random patches were compared with."""
        return {
            "features": self._config.features,
            "baseline_positions": self._rules["baseline_positions"],
        }

    def make_env(self, recognizer: Recognizer) -> PatchLocalizationVectorEnv:
        """The split before a recognizer, for `evaluate_agent`."""
        return PatchLocalizationVectorEnv.from_parts(
            recognizer,
            self.videos,
            num_envs=min(self._config.batch_size or 64, len(self.videos)),
            autoreset_mode="disabled",
            locations=self._config.locations,
            # Without a reward nobody reads them; `conf` needs no patch beside the policy's.
            reward=self._config.reward or "conf",
            **self._rules,
        )


def run_benchmark(
    config: RunConfig, context: RunContext, display: ProgressDisplay
) -> dict[str, Any]:
    """Judge all policies; write `benchmark.json`, `.md`, a figure and a video."""
    device = str(context.device)
    recognizer = load_recognizer(config.resume, "resume", device)
    policy = learned_policy(config, recognizer) if _learned_names(config.policies) else None
    own = _own_recognizers(config.runs or {}, config.policies, device)
    for loaded in (recognizer, *own.values()):
        check_sizes(loaded, config)
    bench = PolicyBench(recognizer, context)
    judged: dict[str, Judged] = {}
    for name in config.policies:
        agent = bench.agent(name, policy)
        judged[name] = bench.judge(name, agent, own.get(name), display)
    result = {
        "policies": [bench.summary(name, item, policy) for name, item in judged.items()],
        "policies_same_classifier": [
            bench.summary(name, Judged(item.common, item.common, has_own=False), policy)
            for name, item in judged.items()
        ],
        "videos": len(bench.videos),
        "split": config.split,
        "seed": config.seed,
        "dataset": config.dataset,
        "reward": config.reward,
        **bench.seen_through(),
        "recognizer_sha256": recognizer.fingerprint(),
    }
    write_json(context.folder / "benchmark.json", result)
    write_report(result, context.folder, display.console)
    shown = [
        name for name in config.policies if name in ("random", *_learned_names(config.policies))
    ]
    if shown:
        evaluations = {name: judged[name].own for name in shown}
        write_policy_video(context.folder, bench.videos, evaluations, seed=config.seed)
    return result


def _learned_names(policies: tuple[str, ...]) -> list[str]:
    if not policies:
        raise ConfigError(
            "policies=[] leaves nothing to compare; name some, such as [random,learned]"
        )
    unknown = [name for name in policies if name not in (*BASELINES, "learned")]
    if unknown:
        raise ConfigError(f"unknown policies {unknown}; known are {', '.join(BASELINES)}, learned")
    return [name for name in policies if name == "learned"]


def learned_policy(config: RunConfig, recognizer: Recognizer) -> BasePolicy:
    """The policy named by `policy=`, else the one beside the recognizer.

    Raises:
        ConfigError: there is none.
        CheckpointError: it does not fit the recognizer or the grid.
    """
    path = config.policy or config.resume
    assert path is not None  # the recognizer came from there
    sizes = recognizer.config
    grid = PatchGrid(config.grid_size, sizes.frame_size, sizes.patch_size)
    return load_fitting_policy(path, grid, recognizer, trust=config.trust)


def _own_recognizers(
    runs: Mapping[str, str], policies: tuple[str, ...], device: str
) -> dict[str, Recognizer]:
    unknown = sorted(set(runs) - set(policies))
    if unknown:
        raise ConfigError(f"runs= names {unknown}, which are not in policies={list(policies)}")
    return {name: load_recognizer(path, f"runs.{name}", device) for name, path in runs.items()}


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write a command's numbers."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    log.info("wrote %s", path)
