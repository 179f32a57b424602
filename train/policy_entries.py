"""Which policies a benchmark compares: `policies=` and `runs=` read into entries."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from agents.baseline_registry import find_baseline, known_names
from train.config import ConfigError, RunConfig
from train.run_folder import CONFIG_FILE, STATE_FILE

log = logging.getLogger(__name__)

LEARNED = "learned"
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
# Keys in which the seeds of one experiment may differ.
_NOT_THE_EXPERIMENT = (
    *("seed", "output_dir", "resume", "recognizer", "num_workers", "device"),
    *("policy", "policies", "runs", "split", "draws"),
)


@dataclass(frozen=True)
class PolicyEntry:
    """One line of the benchmark's table.

    Attributes:
        name: as shown.
        checkpoints: folders with a learned policy, several for several seeds; empty for a baseline
            agent, whose name says all.
        own: stage-3 run with a classifier of its own, or None.
    """

    name: str
    checkpoints: tuple[str, ...] = ()
    own: str | None = None


def read_entries(config: RunConfig) -> list[PolicyEntry]:
    """The policies in the order in which they are named.

    `policies=` takes names of baseline agents, `learned` (the policy in `policy=`, else the one
    beside the recognizer) and `NAME:RUN_FOLDER`; a name given several times is one policy of
    several seeds. `runs=` is either `{policy: its stage-3 run}`, or one or more folders with the
    stage-2 runs of a sweep: those stand where `learned` is, or at the end, grouped into algorithms.

    Raises:
        ConfigError: an unknown, repeated or empty name, or a folder without policies.
    """
    if not config.policies:
        raise ConfigError(
            "policies=[] leaves nothing to compare; name some, such as [random,learned]"
        )
    collected = _collected(config.runs)
    own: Mapping[str, str] = config.runs if isinstance(config.runs, Mapping) else {}
    found: dict[str, list[str]] = {}
    for given in config.policies:
        if given == LEARNED and collected:
            _add(found, collected)
        elif given == LEARNED:
            source = config.policy or config.resume
            if source is None:
                raise ConfigError("learned needs resume=RUN_FOLDER; 'adafocus stage1' makes one")
            _add(found, {LEARNED: [source]})
        elif find_baseline(given) is not None:
            _add(found, {given: []})
        else:
            name, path = _named_folder(given)
            expanded = [str(run) for run in find_policies(Path(path))]
            found.setdefault(name, []).extend(expanded)
    if not set(collected) <= set(found):
        _add(found, collected)
    unknown = sorted(set(own) - set(found))
    if unknown:
        raise ConfigError(f"runs= names {unknown}, which are not in policies={list(found)}")
    return [PolicyEntry(name, tuple(paths), own.get(name)) for name, paths in found.items()]


def recognizer_source(config: RunConfig, entries: list[PolicyEntry]) -> str | None:
    """Where the common recognizer is: `resume=`, else the first run that holds one."""
    if config.resume is not None or isinstance(config.runs, Mapping):
        return config.resume
    for entry in entries:
        for path in entry.checkpoints:
            if (Path(path) / "recognizer").is_dir():
                return path
    return None


def find_policies(folder: Path) -> list[Path]:
    """The folder if it holds a policy, else all finished stage-2 runs below it.

    Raises:
        ConfigError: there are none.
    """
    if (folder / "policy").is_dir() or (folder / "policy.json").is_file():
        return [folder]
    runs = []
    for policy in sorted(folder.glob("**/policy")):
        run = policy.parent
        if (run / STATE_FILE).is_file():
            log.warning("%s is not finished and left out; resume=auto continues it", run)
        elif not (run / "recognizer").is_dir():  # which is written at the end
            log.warning("%s is not finished and left out", run)
        elif _saved(run).get("command") == "stage2":
            runs.append(run)
    if not runs:
        raise ConfigError(f"no finished policy in {folder}; 'adafocus stage2' makes one")
    return runs


def _add(found: dict[str, list[str]], more: Mapping[str, list[str]]) -> None:
    for name, paths in more.items():
        if name in found:
            raise ConfigError(f"policies= names {name} twice")
        found[name] = list(paths)


def _named_folder(given: str) -> tuple[str, str]:
    """`NAME` and `RUN_FOLDER` of `NAME:RUN_FOLDER`."""
    name, colon, path = given.partition(":")
    if not colon or not path or not _NAME.fullmatch(name):
        known = known_names(given, LEARNED, "NAME:RUN_FOLDER")
        raise ConfigError(f"unknown policies [{given!r}]; {known}")
    return name, path


def _collected(runs: Mapping[str, str] | str | tuple[str, ...] | None) -> dict[str, list[str]]:
    """The policies of `runs=FOLDER`, by the name of their algorithm; empty for other `runs`."""
    if runs is None or isinstance(runs, Mapping):
        return {}
    folders = (runs,) if isinstance(runs, str) else runs
    return group_runs([run for folder in folders for run in find_policies(Path(folder))])


def group_runs(runs: list[Path]) -> dict[str, list[str]]:
    """Runs that differ in their seed alone, together, by algorithm.

    Where runs of one algorithm differ in other keys too, these are part of the name, as in
    `gru_ppo[preset=paper]`.
    """
    configs = {run: _flat(_saved(run)) for run in runs}
    named: dict[str, list[Path]] = {}
    for run, values in configs.items():
        named.setdefault(str(values.get("algo.name", LEARNED)), []).append(run)
    groups: dict[str, list[str]] = {}
    for algorithm, members in named.items():
        keys = sorted({key for run in members for key in configs[run]})
        differing = [k for k in keys if len({repr(configs[run].get(k)) for run in members}) > 1]
        for run in members:
            parts = [f"{key.split('.')[-1]}={configs[run].get(key)}" for key in differing]
            name = algorithm + (f"[{','.join(parts)}]" if parts else "")
            groups.setdefault(name, []).append(str(run))
    return groups


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`, without the keys in which seeds may differ."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if not prefix and key in _NOT_THE_EXPERIMENT:
            continue
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _saved(run: Path) -> dict[str, Any]:
    """The configuration in a run folder; empty where there is none."""
    file = run / CONFIG_FILE
    if not file.is_file():
        return {}
    saved = OmegaConf.to_container(OmegaConf.load(file))
    plain: dict[str, Any] = json.loads(json.dumps(saved, default=str))
    return plain
