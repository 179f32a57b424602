"""The mini-language of `policies=`, read once into entries that everything else asks."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adafocus_env.files import CheckpointError, flat
from adafocus_env.networks import load_recognizer
from agents.baselines.blind_skipping import RANDOM_SKIP, UNIFORM_SKIP
from agents.baselines.registry import BaselineEntry, find_baseline, known_names
from agents.policies.policy_files import load_policy
from train.config.commands import Stage2Config
from train.config.judging import ComparisonSection
from train.config.keys import ConfigError, keys_of
from train.config.sections import ResumeSection
from train.runs.folder import STATE_FILE
from train.runs.saved_config import readable_configs, saved_config

log = logging.getLogger(__name__)

LEARNED = "learned"
_WAYS = (RANDOM_SKIP, UNIFORM_SKIP)
_POLICY = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.+-]*)(@(?P<cost>\d+\.?\d*|\.\d+))?(:(?P<after>.+))?", re.ASCII
)
_EXPERIMENT = {
    name: one for name, one in keys_of(Stage2Config).items() if one.identity == "experiment"
}


@dataclass(frozen=True)
class BlindFrames:
    """Frames that are focused on without having been seen.

    Attributes:
        way: `random_skip` or `uniform_skip`.
        amount: a rate of frames, or for `uniform_skip` frames of a video; or the name of a policy:
            as many as it focuses on.
    """

    way: str
    amount: float | str

    def __str__(self) -> str:
        """As written before the policy."""
        amount = self.amount if isinstance(self.amount, str) else f"{self.amount:g}"
        return f"{self.way}:{amount}"


@dataclass(frozen=True)
class PolicyEntry:
    """One policy of `policies=`: a line of the tables, a panel of the videos.

    Attributes:
        stem: a baseline agent as the user writes it, or what a learned policy is called.
        checkpoints: folders with the learned policy, several for several seeds; empty for a
            baseline agent.
        own: stage-3 run with a classifier of its own, or None.
        skip_cost: what a look costs, for a policy that must know it; None is the configured cost.
        frames: the policy is asked in these alone.
    """

    stem: str
    checkpoints: tuple[str, ...] = ()
    own: str | None = None
    skip_cost: float | None = None
    frames: BlindFrames | None = None

    @property
    def name(self) -> str:
        """As shown."""
        return self.agent if self.frames is None else f"{self.frames}:{self.agent}"

    @property
    def agent(self) -> str:
        """Name of the policy that says where to look."""
        return self.stem if self.skip_cost is None else f"{self.stem}@{self.skip_cost:g}"

    @property
    def family(self) -> str:
        """The same for policies that differ in how many frames they focus on alone."""
        return self.stem if self.frames is None else f"{self.frames.way}:{self.stem}"

    @property
    def baseline(self) -> BaselineEntry | None:
        """What the registry knows of the agent; None where it is learned."""
        return None if self.checkpoints else find_baseline(self.stem)

    @property
    def is_learned(self) -> bool:
        """Whether all that it does is learned."""
        return bool(self.checkpoints) and self.frames is None

    @property
    def knows_label(self) -> bool:
        """Whether it is an oracle."""
        return self.baseline is not None and self.baseline.knows_label

    @property
    def by_chance(self) -> bool:
        """Whether another draw gives other looks; several checkpoints are draws already."""
        if self.frames is not None:
            return len(self.checkpoints) < 2
        return self.baseline is not None and self.baseline.by_chance


@dataclass(frozen=True)
class _Blind:
    """`WAY:AMOUNT:POLICY`, before the policy is looked up."""

    frames: BlindFrames
    of: str


def read_entries(config: ComparisonSection) -> list[PolicyEntry]:
    """The policies in the order in which they are named.

    `policies=` takes names of baseline agents, `learned` (the policy in `policy=`, else the one
    beside the recognizer) and `NAME:RUN_FOLDER`; a name given several times is one policy of
    several seeds. `learned@0.05` and `NAME@0.05:RUN_FOLDER` tell the policy that a look costs 0.05;
    `random_skip:AMOUNT:POLICY` and `uniform_skip:AMOUNT:POLICY` focus on frames without having seen
    them, where POLICY is another of these or a baseline agent (see `BlindFrames`). `runs=` is
    either `{policy: its stage-3 run}`, or one or more folders with the stage-2 runs of a sweep:
    those stand where `learned` is, or at the end, grouped into algorithms.

    Raises:
        ConfigError: an unknown, repeated or empty name, or a folder without policies.
    """
    if not config.policies:
        raise ConfigError(
            "policies=[] leaves nothing to compare; name some, such as [random,learned]"
        )
    items = [_parse(written) for written in config.policies]
    swept = _sweep_entries(config.runs)
    if swept and not any(_is_the_learned(item) for item in items):
        items.append(PolicyEntry(LEARNED))
    named: dict[str, PolicyEntry | _Blind] = {}
    for item in items:
        if isinstance(item, _Blind):
            _add(named, f"{item.frames}:{item.of}", item)
        elif _is_the_learned(item):
            for entry in swept or [_beside_the_recognizer(config)]:
                entry = replace(entry, skip_cost=item.skip_cost)
                _add(named, entry.name, entry)
        elif item.baseline is not None:
            _add(named, item.name, item)
        else:
            before = named.get(item.name)
            seeds = before.checkpoints if isinstance(before, PolicyEntry) else ()
            runs = tuple(str(run) for run in find_policies(Path(item.checkpoints[0])))
            named[item.name] = replace(item, checkpoints=seeds + runs)
    own = config.runs if isinstance(config.runs, Mapping) else {}
    unknown = sorted(set(own) - set(named))
    if unknown:
        raise ConfigError(f"runs= names {unknown}, which are not in policies={list(named)}")
    entries: dict[str, PolicyEntry] = {}
    for name, item in named.items():
        entry = item if isinstance(item, PolicyEntry) else _blind_entry(item, entries)
        entries[name] = replace(entry, own=own.get(name, entry.own))
    return list(entries.values())


def _parse(written: str) -> PolicyEntry | _Blind:
    """One item; the checkpoint of a learned policy is its folder as written, if it has one."""
    way, colon, rest = written.partition(":")
    if way in _WAYS:
        amount, _, of = rest.partition(":")
        if not colon or not amount or not of:
            raise ConfigError(
                f"{written}: write {way}:AMOUNT:POLICY, such as "
                f"{way}:{0.5 if way == RANDOM_SKIP else 4}:learned; AMOUNT may be a policy that "
                "skips: as many frames as it focuses on"
            )
        try:
            return _Blind(BlindFrames(way, float(amount)), of)
        except ValueError:
            return _Blind(BlindFrames(way, amount), of)
    match = _POLICY.fullmatch(written)
    name, after = (written, None) if match is None else (match["name"], match["after"])
    cost = None if match is None or match["cost"] is None else float(match["cost"])
    agent = name if after is None else f"{name}:{after}"
    if find_baseline(agent) is not None:
        return PolicyEntry(agent, skip_cost=cost)
    if match is None or (after is None and name != LEARNED):
        others = (f"{way}:AMOUNT:POLICY" for way in _WAYS)
        known = known_names(agent, LEARNED, *others, "NAME:RUN_FOLDER", "NAME@COST:RUN_FOLDER")
        raise ConfigError(f"unknown policies [{written!r}]; {known}")
    return PolicyEntry(name, () if after is None else (after,), skip_cost=cost)


def _is_the_learned(item: PolicyEntry | _Blind) -> bool:
    """Whether it is `learned`, which does not say where it is."""
    return isinstance(item, PolicyEntry) and item.stem == LEARNED and not item.checkpoints


def _beside_the_recognizer(config: ComparisonSection) -> PolicyEntry:
    source = config.policy or config.resume
    if source is None:
        raise ConfigError("learned needs resume=RUN_FOLDER; 'adafocus stage1' makes one")
    return PolicyEntry(LEARNED, (source,))


def _blind_entry(item: _Blind, before: Mapping[str, PolicyEntry]) -> PolicyEntry:
    """The policy that says where to look, in some frames; policies must come before it."""
    agent = before.get(item.of)
    if agent is None and find_baseline(item.of) is not None:
        agent = PolicyEntry(item.of)
    amount = item.frames.amount
    if agent is None or (isinstance(amount, str) and amount not in before):
        raise ConfigError(
            f"{item.frames}:{item.of} needs the policy {item.of if agent is None else amount} "
            f"before it in policies=; there are {', '.join(before) or 'none'}"
        )
    if agent.frames is not None:
        raise ConfigError(
            f"{item.frames}:{item.of}: {item.of} skips frames itself; name the policy it is of"
        )
    return replace(agent, frames=item.frames)


def _add(named: dict[str, PolicyEntry | _Blind], name: str, item: PolicyEntry | _Blind) -> None:
    if name in named:
        raise ConfigError(f"policies= names {name} twice")
    named[name] = item


def _sweep_entries(
    runs: Mapping[str, str] | str | tuple[str, ...] | None,
) -> list[PolicyEntry]:
    """The policies of `runs=FOLDER`, by algorithm; none for other `runs`."""
    if runs is None or isinstance(runs, Mapping):
        return []
    folders = (runs,) if isinstance(runs, str) else runs
    found = group_runs([run for folder in folders for run in find_policies(Path(folder))])
    return [PolicyEntry(name, tuple(paths)) for name, paths in found.items()]


def recognizer_source(config: ResumeSection, entries: Sequence[PolicyEntry]) -> str | None:
    """Where the common recognizer is: `resume=`, else the first run that holds one."""
    if config.resume is not None:
        return config.resume
    runs = (path for entry in entries for path in entry.checkpoints)
    return next((path for path in runs if (Path(path) / "recognizer").is_dir()), None)


def find_policies(folder: Path) -> list[Path]:
    """The folder if it holds a policy, else all finished stage-2 runs below it.

    Runs that are damaged or not finished are reported and left out.

    Raises:
        ConfigError: there are none.
    """
    if (folder / "policy").is_dir() or (folder / "policy.json").is_file():
        return [folder]
    finished = []
    for policy in sorted(folder.glob("**/policy")):
        run = policy.parent
        if (run / STATE_FILE).is_file():
            log.warning("%s is not finished and left out; resume=auto continues it", run)
        elif not (run / "recognizer").is_dir():  # which is written at the end
            log.warning("%s is not finished and left out", run)
        else:
            finished.append(run)
    stage2 = [run for run, saved in readable_configs(finished) if saved["command"] == "stage2"]
    runs = [run for run in stage2 if _is_usable(run)]
    if not runs:
        raise ConfigError(f"no finished policy in {folder}; 'adafocus stage2' makes one")
    return runs


def _is_usable(run: Path) -> bool:
    """Whether a run's policy and recognizer can be loaded; why not is reported."""
    try:
        load_policy(run / "policy")
        load_recognizer(run / "recognizer")
    except (CheckpointError, OSError) as error:
        log.warning("%s is left out: %s", run, error)
        return False
    return True


def group_runs(runs: list[Path]) -> dict[str, list[str]]:
    """Runs that differ in their seed alone, together, by algorithm.

    Where runs of one algorithm differ in other keys too, these are part of the name, as in
    `gru_ppo[preset=paper]`.
    """
    configs = {run: _experiment(run) for run in runs}
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


def _experiment(run: Path) -> dict[str, Any]:
    """The configuration of a run as `{"a.b": 1}`, without the keys in which seeds may differ."""
    saved = saved_config(run) or {}
    return flat({name: saved.get(name, one.plain_default) for name, one in _EXPERIMENT.items()})
