"""The finished runs of stage 2 below a folder, and which of them are seeds of one policy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from adafocus_env.files import CheckpointError, flat
from adafocus_env.networks import load_recognizer
from agents.policies.policy_files import load_policy
from train.checkpoints.load import check_exists
from train.config.commands import Stage2Config
from train.config.keys import ConfigError, keys_of
from train.runs.folder import STATE_FILE
from train.runs.saved_config import readable_configs, saved_config

log = logging.getLogger(__name__)

LEARNED = "learned"
_EXPERIMENT = {
    name: one for name, one in keys_of(Stage2Config).items() if one.identity == "experiment"
}


def find_policies(folder: Path) -> list[Path]:
    """The folder if it holds a policy, else all finished stage-2 runs below it.

    Runs that are damaged or not finished are reported and left out.

    Raises:
        ConfigError: there are none.
    """
    if (folder / "policy").is_dir() or (folder / "policy.json").is_file():
        return [folder]
    check_exists(folder, "policy", "adafocus stage2")
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
