"""Evaluate: one checkpoint on every video of a split, by the published protocol."""

from __future__ import annotations

import logging
import platform
import time
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.networks import Recognizer
from agents.baselines import Agent, RandomOffsets
from agents.evaluation import Evaluation, evaluate_agent
from train.benchmark import BASELINES, PolicyBench, learned_policy, write_json
from train.checkpoints import ZIP_FILE, check_sizes, find_part, load_recognizer
from train.config import ConfigError, RunConfig
from train.evaluate_report import write_report
from train.metrics import reward_summary
from train.progress import ProgressDisplay
from train.run_context import RunContext

log = logging.getLogger(__name__)

RANDOM_OFFSETS = "random_offsets"


def run_evaluate(
    config: RunConfig, context: RunContext, display: ProgressDisplay
) -> dict[str, Any]:
    """Judge one policy with one recognizer; write `evaluate.json` and `.md`, print the tables.

    Published protocol: the policy's most probable action in each frame, preprocessing and sampling
    of validation, the last step's logits. Where there is no policy, patches lie at random pixels,
    as when the published stage 1 is validated. Rewards are measured only if `reward=` names one:
    their baseline costs another patch a frame.
    """
    recognizer = load_recognizer(config.resume, "resume", str(context.device))
    check_sizes(recognizer, config)
    name, policy = _policy(config, recognizer)
    bench = PolicyBench(recognizer, context)
    evaluation, seconds = _play(bench, name, policy, config, display)
    gmacs = bench.gmacs(name, policy)
    rewards = reward_summary(evaluation, bench.videos)
    if config.reward is None:
        rewards = {"on_target": rewards["on_target"]}
    result = {
        "policies": [
            {
                "name": name,
                **rewards,
                **bench.accuracy(evaluation),
                "gmacs_per_video": sum(gmacs.values()),
                "gmacs_by_part": gmacs,
            }
        ],
        "videos": len(bench.videos),
        "classes": recognizer.config.num_classes,
        "split": config.split,
        "seed": config.seed,
        "dataset": config.dataset,
        "reward": config.reward,
        **bench.seen_through(),
        "map_rule": config.map_rule,
        "map_labels": config.map_labels,
        "seconds": seconds,
        "videos_per_second": len(evaluation.label) / seconds,
        "device": _device_name(context.device),
        "recognizer_sha256": recognizer.fingerprint(),
    }
    write_json(context.folder / "evaluate.json", result)
    write_report(result, context.folder, display.console)
    return result


def _policy(config: RunConfig, recognizer: Recognizer) -> tuple[str, BasePolicy | None]:
    """Name of the policy to judge, and the learned one."""
    if config.policy == RANDOM_OFFSETS:
        return _random_offsets(config)
    if config.policy in BASELINES:
        return str(config.policy), None
    if config.policy is None and not _has_policy(str(config.resume)):
        log.info("%s has no policy: patches at random pixels instead", config.resume)
        return _random_offsets(config)
    return "learned", learned_policy(config, recognizer)


def _random_offsets(config: RunConfig) -> tuple[str, None]:
    if config.features != "live":
        raise ConfigError(
            "patches at random pixels are not in a bank, which holds grid positions only; use "
            "policy=random, center, greedy_oracle or a policy's folder, or features=live"
        )
    return RANDOM_OFFSETS, None


def _has_policy(path: str) -> bool:
    if (Path(path) / ZIP_FILE).is_file():
        return True
    try:
        find_part(path, "policy", "adafocus stage2")
    except ConfigError:
        return False
    return True


def _play(
    bench: PolicyBench,
    name: str,
    policy: BasePolicy | None,
    config: RunConfig,
    display: ProgressDisplay,
) -> tuple[Evaluation, float]:
    """The evaluation and its wall-clock seconds, decoding included."""
    agent: Agent | RandomOffsets = (
        RandomOffsets(bench.env.core) if name == RANDOM_OFFSETS else bench.agent(name, policy)
    )
    draws = config.draws if name in ("random", RANDOM_OFFSETS) else 1
    with display.part(f"evaluate: {name}", len(bench.videos) * draws) as progress:

        def advance(count: int) -> None:
            for _ in range(count):
                progress.advance()

        began = time.perf_counter()
        evaluation = evaluate_agent(
            bench.env, agent, seed=config.seed, draws=draws, progress=advance
        )
        return evaluation, time.perf_counter() - began


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
