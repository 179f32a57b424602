"""Evaluate: one checkpoint on every video of a split, by the published protocol."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Any

import torch

from adafocus_env.files import write_json
from agents.baselines.registry import baseline_names, find_baseline
from train.checkpoints.load import ZIP_FILE, check_policy_exists, find_part
from train.config.commands import EvaluateConfig
from train.config.keys import ConfigError
from train.evaluation.evaluator import Evaluator
from train.evaluation.metrics import reward_summary
from train.evaluation.policies import PolicyEntry
from train.evaluation.policy_runs import LEARNED
from train.evaluation.report.text import write_evaluation
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)


def run_evaluate(
    config: EvaluateConfig, context: RunContext[EvaluateConfig], display: ProgressDisplay
) -> dict[str, Any]:
    """Judge one policy with one recognizer; write `evaluate.json` and `.md`, print the tables.

    Published protocol: the policy's most probable action in each frame, preprocessing and sampling
    of validation, the last step's logits. Where there is no policy, patches lie at random pixels,
    as when the published stage 1 is validated. Rewards are measured only if `reward=` names one:
    their baseline costs another patch a frame.
    """
    entry = _entry(config)
    evaluator = Evaluator.open([entry], context)
    policy = evaluator.load(entry)
    judged = evaluator.evaluate(policy, display, draws=config.draws, title="evaluate")
    evaluation = judged.common
    costs = evaluator.costs(policy, evaluation.focused())
    rewards = reward_summary(evaluation, evaluator.videos)
    if config.reward is None:
        rewards = {"on_target": rewards["on_target"]}
    result = {
        "policies": [
            {
                "name": entry.stem,
                **rewards,
                **evaluator.accuracy(evaluation),
                "gmacs_per_video": costs.total,
                "gmacs_by_part": costs.by_part,
                "gmacs_executed_per_video": costs.executed,
                "kept_share": judged.focused_share,
                "skip_cost": entry.skip_cost,
            }
        ],
        "classes": evaluator.recognizer.config.num_classes,
        **evaluator.about(),
        "seconds": judged.seconds,
        "videos_per_second": len(evaluation.label) / judged.seconds,
        "device": _device_name(context.device),
    }
    write_json(context.folder / "evaluate.json", result)
    log.info("wrote %s", context.folder / "evaluate.json")
    write_evaluation(result, context.folder, display.console)
    return result


def _entry(config: EvaluateConfig) -> PolicyEntry:
    """The policy to judge."""
    cost = config.skip_cost if isinstance(config.skip_cost, float | int) else None
    if config.policy is not None:
        if find_baseline(config.policy) is not None:
            return PolicyEntry(config.policy, skip_cost=cost)
        check_policy_exists(config.policy, baseline_names())
    source = config.policy or config.resume
    if source is not None and (config.policy is not None or _has_policy(source)):
        return PolicyEntry(LEARNED, (source,), skip_cost=cost)
    log.info("%s has no policy: patches at random pixels instead", source)
    return PolicyEntry("random_offsets", skip_cost=cost)


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
