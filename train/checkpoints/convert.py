"""`adafocus convert`: published checkpoints into ours, and ours into the published format."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces

from adafocus_env.files import write_json
from adafocus_env.networks import (
    AnyRecognizer,
    CheckpointError,
    ShiftRecognizerConfig,
    build_recognizer,
    placeholder_class_names,
)
from adafocus_env.networks.weight_report import WeightReport, compare_weights
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.policy_files import save_policy
from train.checkpoints.convert_to_published import (
    PARTS,
    REPORT_FILE,
    as_keys,
    check_expressible,
    given_sizes,
    to_published,
)
from train.checkpoints.published.files import (
    SHIFT,
    PublishedCheckpoint,
    read_published,
)
from train.checkpoints.published.policy import policy_from_published
from train.checkpoints.published.weight_names import named_as_ours
from train.config.builders import dataset_class_names, declared_num_classes, recognizer_config
from train.config.keys import ConfigError
from train.config.tools import ConvertConfig
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)

_CURE = "give the experiment the file was trained as, experiment=%s_patch%d say"
_EXPERIMENTS = {SHIFT: ("sthsth_v1", 144)}


def run_convert(config: ConvertConfig, display: ProgressDisplay) -> None:
    """Convert `source` into `target`, print what was found and write it to `convert.json`.

    Raises:
        ConfigError: no source or target, a target that is in use, or other classes.
        CheckpointError: a file that cannot be converted.
    """
    source, target = Path(config.need("source")), Path(config.need("target"))
    if config.format == "published":
        lines = to_published(source, target, config)
    else:
        lines = _to_ours(source, target, config)
    for line in lines:
        log.info(line)
        display.say(line)


def _to_ours(source: Path, target: Path, config: ConvertConfig) -> list[str]:
    if source.is_dir():
        raise ConfigError(f"source={source} is a folder; format=published writes it as a file")
    _check_folder_is_free(target)
    checkpoint = read_published(source)
    if checkpoint.family != config.family:
        raise ConfigError(
            f"{source} holds networks of family={checkpoint.family}, but the configured ones are "
            f"of family={config.family}; {_cure(checkpoint.family)}"
        )
    names, named_by = _class_names(checkpoint, source, config)
    recognizer = _empty_recognizer(checkpoint, source, names, config)
    reports = _fill(recognizer, checkpoint)
    policy = None
    if checkpoint.policy is not None and all(report.complete for report in reports.values()):
        policy, reports["policy"] = policy_from_published(checkpoint.policy, recognizer, source)
    result = _description(source, checkpoint, recognizer, policy, reports)
    result["class_names"] = named_by
    # Also when the weights do not fit: the message shows only the first names.
    write_json(config.output_dir / REPORT_FILE, result)
    _check_complete(source, checkpoint.family, reports, config.output_dir / REPORT_FILE)
    _remove_earlier(target)
    recognizer.save(target / "recognizer")
    if policy is not None:
        save_policy(
            policy,
            target / "policy",
            recognizer_sha256=recognizer.fingerprint(),
            glancer_sha256=recognizer.glancer_fingerprint(),
        )
    write_json(target / REPORT_FILE, result)
    return _lines(result, target)


def _check_folder_is_free(target: Path) -> None:
    """A folder may be replaced if it is empty or holds the report of an earlier conversion."""
    if target.is_file():
        raise ConfigError(f"target={target} is a file; name a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / REPORT_FILE).is_file():
        raise ConfigError(
            f"target={target} is not empty and holds no {REPORT_FILE} of an earlier conversion; "
            "name a new folder"
        )


def _remove_earlier(target: Path) -> None:
    """A policy of an earlier conversion must not stay beside another recognizer."""
    for name in ("policy/policy.json", "policy/policy.safetensors", REPORT_FILE):
        (target / name).unlink(missing_ok=True)
    if (target / "policy").is_dir() and not any((target / "policy").iterdir()):
        (target / "policy").rmdir()


def _class_names(
    checkpoint: PublishedCheckpoint, source: Path, config: ConvertConfig
) -> tuple[tuple[str, ...], str]:
    """Names, and where they come from; the number of classes is the file's."""
    name = "weight" if checkpoint.family == SHIFT else "fc.weight"
    head = checkpoint.classifier.get(name)
    if head is None or head.dim() != 2:
        raise CheckpointError(f"{source} has no {name} in its entry fc")
    known = dataset_class_names(config)
    expected = declared_num_classes(config) if known is None else len(known)
    if expected not in (None, len(head)):
        raise ConfigError(
            f"{source} knows {len(head)} classes, but dataset={config.dataset} has {expected}: "
            f"another data set's class file? Or {_cure(checkpoint.family)}"
        )
    if known is None:
        return placeholder_class_names(len(head)), "placeholders: no data_dir was given"
    return known, f"class file of dataset={config.dataset}"


def _empty_recognizer(
    checkpoint: PublishedCheckpoint, source: Path, names: tuple[str, ...], config: ConvertConfig
) -> AnyRecognizer:
    sizes = recognizer_config(config, names)
    if isinstance(sizes, ShiftRecognizerConfig):
        check_expressible(sizes, source)
        return build_recognizer(sizes)
    state_weight = checkpoint.classifier.get("gru.weight_hh_l0")
    if state_weight is None or state_weight.dim() != 2:
        raise CheckpointError(f"{source} has no gru.weight_hh_l0 in its entry fc")
    return build_recognizer(replace(sizes, hidden_dim=state_weight.shape[1]))


def _fill(recognizer: AnyRecognizer, checkpoint: PublishedCheckpoint) -> dict[str, WeightReport]:
    """Load what fits completely; part -> report."""
    reports = {}
    for part in PARTS:
        module, given = getattr(recognizer, part), getattr(checkpoint, part)
        own = module.state_dict()
        if checkpoint.family == SHIFT:
            given = named_as_ours(part, given, own)
            # Published focusers have lost their heads, which nothing but stage 0 uses.
            lost = [name for name in own if part == "focuser" and name.startswith("net.fc.")]
            given = {**{name: torch.zeros_like(own[name]) for name in lost}, **given}
        report = compare_weights(given, own)
        if report.complete:
            module.load_state_dict({name: given[name] for name in own})
        reports[part] = report
    recognizer.eval()
    return reports


def _check_complete(
    source: Path, family: str, reports: dict[str, WeightReport], file: Path
) -> None:
    wrong = {part: report for part, report in reports.items() if not report.complete}
    if wrong:
        found = "; ".join(f"{part}: {report}" for part, report in wrong.items())
        raise CheckpointError(
            f"{source} does not fit the configured networks: {found}. All names are in {file}; "
            f"{_cure(family)}, or glancer= and focuser="
        )


def _description(
    source: Path,
    checkpoint: PublishedCheckpoint,
    recognizer: AnyRecognizer,
    policy: GruActorCriticPolicy | None,
    reports: dict[str, WeightReport],
) -> dict[str, Any]:
    """What `convert.json` says."""
    return {
        "source": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "epoch": checkpoint.epoch,
        "acc": checkpoint.acc,
        "best_acc": checkpoint.best_acc,
        "num_classes": recognizer.config.num_classes,
        "family": recognizer.config.family,
        "hidden_dim": getattr(recognizer.config, "hidden_dim", None),
        "action_dim": None if policy is None else _num_actions(policy),
        "policy_hidden_dim": None if policy is None else policy.hidden_dim,
        "from_configuration": given_sizes(recognizer.config),
        "weights": {part: report.as_json() for part, report in reports.items()},
        "notes": checkpoint.notes,
    }


def _num_actions(policy: GruActorCriticPolicy) -> int | None:
    """None in continuous locations."""
    space = policy.action_space
    return int(space.n) if isinstance(space, spaces.Discrete) else None


def _lines(result: dict[str, Any], target: Path) -> list[str]:
    """What is printed: found in the file, taken from the configuration, left over."""
    names = ("num_classes", "hidden_dim", "action_dim", "policy_hidden_dim")
    found = [name for name in names if result[name] is not None]
    lines = ["in the file: " + " ".join(f"{name}={result[name]}" for name in found)]
    given = result["from_configuration"]
    lines.append("from the configuration: " + as_keys(given))
    lines.append(f"class names: {result['class_names']}")
    for part, report in result["weights"].items():
        left = report["unexpected"]
        unread = f", not used: {', '.join(left)}" if left else ""
        lines.append(f"{part}: {report['read']} weights{unread}")
    lines += [f"note: {note}" for note in result["notes"]]
    written = "recognizer/ and policy/" if "policy" in result["weights"] else "recognizer/"
    return [*lines, f"{written} are in {target}; use it as resume={target}"]


def _cure(family: str) -> str:
    return _CURE % _EXPERIMENTS.get(family, ("actnet", 128))
