"""The mini-language of `policies=`, read once into entries that everything else asks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agents.baselines.blind_skipping import RANDOM_SKIP, UNIFORM_SKIP
from agents.baselines.registry import BaselineEntry, find_baseline, known_names
from agents.baselines.stopping import UNTIL
from train.checkpoints.load import check_has_policy, nothing_to_start_from
from train.config.judging import ComparisonSection
from train.config.keys import ConfigError
from train.config.sections import ResumeSection
from train.evaluation.policy_runs import LEARNED, find_policies, group_runs

_WAYS = (RANDOM_SKIP, UNIFORM_SKIP)
_POLICY = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.+-]*)(@(?P<cost>\d+\.?\d*|\.\d+))?(:(?P<after>.+))?", re.ASCII
)


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
        until: the largest belief at which its episodes end, in closed loops.
    """

    stem: str
    checkpoints: tuple[str, ...] = ()
    own: str | None = None
    skip_cost: float | None = None
    frames: BlindFrames | None = None
    until: float | None = None

    @property
    def name(self) -> str:
        """As shown."""
        if self.until is not None:
            return f"{UNTIL}:{self.until:g}:{self.agent}"
        return self.agent if self.frames is None else f"{self.frames}:{self.agent}"

    @property
    def agent(self) -> str:
        """Name of the policy that says where to look."""
        return self.stem if self.skip_cost is None else f"{self.stem}@{self.skip_cost:g}"

    @property
    def family(self) -> str:
        """The same for policies that differ in how many frames they focus on alone."""
        if self.until is not None:
            return f"{UNTIL}:{self.stem}"
        return self.stem if self.frames is None else f"{self.frames.way}:{self.stem}"

    @property
    def baseline(self) -> BaselineEntry | None:
        """What the registry knows of the agent; None where it is learned."""
        return None if self.checkpoints else find_baseline(self.stem)

    @property
    def is_learned(self) -> bool:
        """Whether all that it does is learned."""
        return bool(self.checkpoints) and self.plays_all

    @property
    def plays_all(self) -> bool:
        """Whether it is asked in every frame, and for as long as it likes."""
        return self.frames is None and self.until is None

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
class _Altered:
    """`WAY:AMOUNT:POLICY`, before the policy is looked up."""

    of: str
    frames: BlindFrames | None = None
    until: float | None = None

    @property
    def name(self) -> str:
        """As shown."""
        return PolicyEntry(self.of, frames=self.frames, until=self.until).name


def read_entries(config: ComparisonSection) -> list[PolicyEntry]:
    """The policies in the order in which they are named.

    `policies=` takes names of baseline agents, `learned` (the policy in `policy=`, else the one
    beside the recognizer) and `NAME:RUN_FOLDER`; a name given several times is one policy of
    several seeds. `learned@0.05` and `NAME@0.05:RUN_FOLDER` tell the policy that a look costs 0.05;
    `random_skip:AMOUNT:POLICY` and `uniform_skip:AMOUNT:POLICY` focus on frames without having seen
    them, where POLICY is another of these or a baseline agent (see `BlindFrames`);
    `until:BELIEF:POLICY` ends its episodes where the largest belief reaches BELIEF. `runs=` is
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
    named: dict[str, PolicyEntry | _Altered] = {}
    for item in items:
        if isinstance(item, _Altered):
            _add(named, item.name, item)
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
        entry = item if isinstance(item, PolicyEntry) else _altered_entry(item, entries)
        entries[name] = replace(entry, own=own.get(name, entry.own))
    return list(entries.values())


def _parse(written: str) -> PolicyEntry | _Altered:
    """One item; the checkpoint of a learned policy is its folder as written, if it has one."""
    way, colon, rest = written.partition(":")
    if way == UNTIL:
        belief, _, of = rest.partition(":")
        if not re.fullmatch(r"0?\.\d+|1(\.0*)?", belief) or float(belief) == 0.0 or not of:
            raise ConfigError(
                f"{written}: write {UNTIL}:BELIEF:POLICY, BELIEF above 0 and up to 1, such as "
                f"{UNTIL}:0.9:learned"
            )
        return _Altered(of, until=float(belief))
    if way in _WAYS:
        amount, _, of = rest.partition(":")
        if not colon or not amount or not of:
            raise ConfigError(
                f"{written}: write {way}:AMOUNT:POLICY, such as "
                f"{way}:{0.5 if way == RANDOM_SKIP else 4}:learned; AMOUNT may be a policy that "
                "skips: as many frames as it focuses on"
            )
        try:
            return _Altered(of, BlindFrames(way, float(amount)))
        except ValueError:
            return _Altered(of, BlindFrames(way, amount))
    match = _POLICY.fullmatch(written)
    name, after = (written, None) if match is None else (match["name"], match["after"])
    cost = None if match is None or match["cost"] is None else float(match["cost"])
    agent = name if after is None else f"{name}:{after}"
    if find_baseline(agent) is not None:
        return PolicyEntry(agent, skip_cost=cost)
    if match is None or (after is None and name != LEARNED):
        others = (*(f"{way}:AMOUNT:POLICY" for way in _WAYS), f"{UNTIL}:BELIEF:POLICY")
        known = known_names(agent, LEARNED, *others, "NAME:RUN_FOLDER", "NAME@COST:RUN_FOLDER")
        raise ConfigError(f"unknown policies [{written!r}]; {known}")
    return PolicyEntry(name, () if after is None else (after,), skip_cost=cost)


def _is_the_learned(item: PolicyEntry | _Altered) -> bool:
    """Whether it is `learned`, which does not say where it is."""
    return isinstance(item, PolicyEntry) and item.stem == LEARNED and not item.checkpoints


def _beside_the_recognizer(config: ComparisonSection) -> PolicyEntry:
    source = config.policy or config.resume
    if source is None:
        whose = f"{LEARNED} in policies="
        raise nothing_to_start_from(config, "policy", whose=whose, instead="policy=RUN_FOLDER")
    if config.policy is None:
        cure = f"leave {LEARNED} out of policies=, or give policy=RUN_FOLDER of 'adafocus stage2'"
        check_has_policy(source, config.dataset, cure)
    elif find_baseline(config.policy) is not None:
        raise ConfigError(
            f"policy={config.policy}: policy= says where {LEARNED} is; names go into policies="
        )
    return PolicyEntry(LEARNED, (source,))


def _altered_entry(item: _Altered, before: Mapping[str, PolicyEntry]) -> PolicyEntry:
    """The policy that says where to look, in some frames; policies must come before it."""
    agent = before.get(item.of)
    if agent is None and find_baseline(item.of) is not None:
        agent = PolicyEntry(item.of)
    amount = None if item.frames is None else item.frames.amount
    if agent is None or (isinstance(amount, str) and amount not in before):
        raise ConfigError(
            f"{item.name} needs the policy {item.of if agent is None else amount} "
            f"before it in policies=; there are {', '.join(before) or 'none'}"
        )
    if not agent.plays_all:
        raise ConfigError(
            f"{item.name}: {item.of} leaves out frames or looks itself; name the policy it is of"
        )
    return replace(agent, frames=item.frames, until=item.until)


def _add(named: dict[str, PolicyEntry | _Altered], name: str, item: PolicyEntry | _Altered) -> None:
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
