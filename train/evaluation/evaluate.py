"""Evaluate: one checkpoint on every video of a split, by the published protocol."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.files import write_json
from adafocus_env.networks import AnyRecognizer
from agents.baselines.registry import find_baseline
from train.checkpoints.load import ZIP_FILE, find_part, load_configured
from train.config.sections import ConfigError, RunConfig
from train.evaluation.benchmark import fitting_policy
from train.evaluation.evaluator import RANDOM_OFFSETS, Evaluator
from train.evaluation.metrics import reward_summary
from train.evaluation.policies import LEARNED, PolicyEntry
from train.evaluation.report.evaluate_text import write_report
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)


def run_evaluate(
    config: RunConfig, context: RunContext, display: ProgressDisplay
) -> dict[str, Any]:
    """Judge one policy with one recognizer; write `evaluate.json` and `.md`, print the tables.

    Published protocol: the policy's most probable action in each frame, preprocessing and sampling
    of validation, the last step's logits. Where there is no policy, patches lie at random pixels,
    as when the published stage 1 is validated. Rewards are measured only if `reward=` names one:
    their baseline costs another patch a frame.
    """
    recognizer = load_configured(config.resume, "resume", config, str(context.device))
    name, policy = _policy(config, recognizer)
    bench = Evaluator(recognizer, context, config.split)
    cost = config.skip_cost if isinstance(config.skip_cost, float | int) else None
    entry = PolicyEntry(name, skip_cost=cost)
    if policy is None:
        bench.check([entry])
    judged = bench.judge(entry, [] if policy is None else [policy], None, display, title="evaluate")
    evaluation, seconds = judged.common, judged.seconds
    kept_share = float(evaluation.focused().mean())
    gmacs = bench.gmacs(entry, policy, kept_share)
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
                "gmacs_executed_per_video": bench.executed_gmacs(entry, policy, kept_share),
                "kept_share": kept_share,
                "skip_cost": cost,
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
    log.info("wrote %s", context.folder / "evaluate.json")
    write_report(result, context.folder, display.console)
    return result


def _policy(config: RunConfig, recognizer: AnyRecognizer) -> tuple[str, BasePolicy | None]:
    """Name of the policy to judge, and the learned one."""
    if config.policy is not None and find_baseline(config.policy) is not None:
        return config.policy, None
    if config.policy is None and not _has_policy(str(config.resume)):
        log.info("%s has no policy: patches at random pixels instead", config.resume)
        return RANDOM_OFFSETS, None
    return LEARNED, fitting_policy(str(config.policy or config.resume), config, recognizer)


def _has_policy(path: str) -> bool:
    if (Path(path) / ZIP_FILE).is_file():
        return True
    try:
        find_part(path, "policy", "adafocus stage2")
    except ConfigError:
        return False
    return True


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
