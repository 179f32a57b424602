"""Which policies a benchmark compares: `policies=` and `runs=` read into entries."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from agents.baselines.blind_skipping import RANDOM_SKIP, UNIFORM_SKIP
from agents.baselines.registry import find_baseline, known_names
from train.config.judging import ComparisonSection
from train.config.sections import ConfigError, RunConfig
from train.runs.folder import CONFIG_FILE, STATE_FILE

log = logging.getLogger(__name__)

LEARNED = "learned"
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
_COST = re.compile(r"(?P<name>[^@:]+)@(?P<cost>\d+\.?\d*|\.\d+)(?P<folder>:.*)?", re.ASCII)
# Keys in which the seeds of one experiment may differ.
_NOT_THE_EXPERIMENT = (
    *("seed", "output_dir", "resume", "recognizer", "num_workers", "device"),
    *("policy", "policies", "runs", "split", "draws"),
)


@dataclass(frozen=True)
class BlindFrames:
    """Frames that are kept without seeing them, in which another policy says where to look.

    Attributes:
        way: `random_skip` or `uniform_skip`.
        amount: a rate of frames, or for `uniform_skip` frames of a video; or the name of a policy:
            as many as it keeps.
        of: name of the policy that says where to look.
    """

    way: str
    amount: float | str
    of: str


@dataclass(frozen=True)
class PolicyEntry:
    """One line of the benchmark's table.

    Attributes:
        name: as shown.
        checkpoints: folders with a learned policy, several for several seeds; empty for a baseline
            agent, whose name says all.
        own: stage-3 run with a classifier of its own, or None.
        skip_cost: what a look costs, for a policy that must know it; None is the configured cost.
        frames: of a baseline agent for skipping; `checkpoints` are those of the policy that says
            where to look.
    """

    name: str
    checkpoints: tuple[str, ...] = ()
    own: str | None = None
    skip_cost: float | None = None
    frames: BlindFrames | None = None

    @property
    def is_learned(self) -> bool:
        """Whether all that it does is learned."""
        return bool(self.checkpoints) and self.frames is None

    @property
    def looker(self) -> str:
        """Name of the baseline agent that says where to look, where nothing is learned."""
        return self.name if self.frames is None else self.frames.of


def read_entries(config: RunConfig) -> list[PolicyEntry]:
    """The policies in the order in which they are named.

    `policies=` takes names of baseline agents, `learned` (the policy in `policy=`, else the one
    beside the recognizer) and `NAME:RUN_FOLDER`; a name given several times is one policy of
    several seeds. `learned@0.05` and `NAME@0.05:RUN_FOLDER` tell the policy that a look costs 0.05;
    `random_skip:AMOUNT:POLICY` and `uniform_skip:AMOUNT:POLICY` keep frames without seeing them,
    where POLICY is another of these or a baseline agent (see `BlindFrames`). `runs=` is either
    `{policy: its stage-3 run}`, or one or more folders with the stage-2 runs of a sweep: those
    stand where `learned` is, or at the end, grouped into algorithms.

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
    costs: dict[str, float] = {}
    frames: dict[str, BlindFrames] = {}
    for written in config.policies:
        given, cost = _told_cost(written)
        way = read_frames(given)
        if way is not None:
            _add(found, {given: []})
            frames[given] = way
        elif given == LEARNED and collected:
            _add(found, collected)
        elif given == LEARNED:
            source = config.policy or config.resume
            if source is None:
                raise ConfigError("learned needs resume=RUN_FOLDER; 'adafocus stage1' makes one")
            name = LEARNED if cost is None else f"{LEARNED}@{cost:g}"
            _add(found, {name: [source]})
            costs |= {} if cost is None else {name: cost}
        elif find_baseline(given) is not None:
            _add(found, {given: []})
        else:
            name, path = _named_folder(given)
            if cost is not None:
                name = f"{name}@{cost:g}"
                costs[name] = cost
            expanded = [str(run) for run in find_policies(Path(path))]
            found.setdefault(name, []).extend(expanded)
    if not set(collected) <= set(found):
        _add(found, collected)
    unknown = sorted(set(own) - set(found))
    if unknown:
        raise ConfigError(f"runs= names {unknown}, which are not in policies={list(found)}")
    entries: dict[str, PolicyEntry] = {}
    for name, paths in found.items():
        entry = PolicyEntry(name, tuple(paths), own.get(name), costs.get(name), frames.get(name))
        entries[name] = _with_looker(entry, entries)
    return list(entries.values())


def read_frames(given: str) -> BlindFrames | None:
    """The parts of `random_skip:AMOUNT:POLICY`; None where it is none.

    Raises:
        ConfigError: it is not complete.
    """
    way, colon, rest = given.partition(":")
    if way not in (RANDOM_SKIP, UNIFORM_SKIP):
        return None
    amount, _, of = rest.partition(":")
    if not colon or not amount or not of:
        raise ConfigError(
            f"{given}: write {way}:AMOUNT:POLICY, such as {way}:{0.5 if way == RANDOM_SKIP else 4}"
            f":learned; AMOUNT may be a policy that skips: as many frames as it keeps"
        )
    try:
        return BlindFrames(way, float(amount), of)
    except ValueError:
        return BlindFrames(way, amount, of)


def recognizer_source(config: ComparisonSection, entries: list[PolicyEntry]) -> str | None:
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


def _told_cost(written: str) -> tuple[str, float | None]:
    """`NAME@COST:RUN_FOLDER` as `NAME:RUN_FOLDER` and the cost."""
    match = _COST.fullmatch(written)
    if match is None or read_frames(written) is not None:
        return written, None
    return match["name"] + (match["folder"] or ""), float(match["cost"])


def _with_looker(entry: PolicyEntry, before: Mapping[str, PolicyEntry]) -> PolicyEntry:
    """The entry with the checkpoints of the policy that says where to look.

    Raises:
        ConfigError: a policy that it names does not come before it.
    """
    frames = entry.frames
    if frames is None:
        return entry
    missing = [] if frames.of in before or find_baseline(frames.of) else [frames.of]
    if isinstance(frames.amount, str) and frames.amount not in before:
        missing.append(frames.amount)
    if missing:
        raise ConfigError(
            f"{entry.name} needs the policy {missing[0]} before it in policies=; there are "
            f"{', '.join(before) or 'none'}"
        )
    looker = before.get(frames.of)
    if looker is None:
        return entry
    if looker.frames is not None:
        raise ConfigError(
            f"{entry.name}: {frames.of} skips frames itself; name the policy it is of"
        )
    return replace(
        entry,
        checkpoints=looker.checkpoints,
        own=entry.own or looker.own,
        skip_cost=looker.skip_cost,
    )


def _add(found: dict[str, list[str]], more: Mapping[str, list[str]]) -> None:
    for name, paths in more.items():
        if name in found:
            raise ConfigError(f"policies= names {name} twice")
        found[name] = list(paths)


def _named_folder(given: str) -> tuple[str, str]:
    """`NAME` and `RUN_FOLDER` of `NAME:RUN_FOLDER`."""
    name, colon, path = given.partition(":")
    if not colon or not path or not _NAME.fullmatch(name):
        others = (f"{way}:AMOUNT:POLICY" for way in (RANDOM_SKIP, UNIFORM_SKIP))
        known = known_names(given, LEARNED, *others, "NAME:RUN_FOLDER", "NAME@COST:RUN_FOLDER")
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
