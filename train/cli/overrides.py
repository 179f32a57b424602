"""What a command line says of keys, groups and algorithms, checked before anything is started."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path

from train.config.sections import GROUPS, ConfigError, RunConfig, unknown_key


def check_override_names(overrides: list[str]) -> None:
    """Refuse `key=value` overrides whose key does not exist, before Hydra does.

    Args:
        overrides: the command line.

    Raises:
        ConfigError: an unknown key; the message has the nearest one.
    """
    known = {item.name for item in fields(RunConfig)} | set(GROUPS) | {"recipes", "hydra"}
    for override in overrides:
        if override.startswith("-"):  # Hydra's own flags, such as --multirun
            continue
        if "=" not in override:
            raise ConfigError(f"expected key=value, got {override!r}")
        name = override.split("=", 1)[0].lstrip("+~").split(".")[0].split("/")[0].split("@")[0]
        if name not in known:
            raise ConfigError(unknown_key(name, known))


def check_options(overrides: list[str], configs: Path) -> None:
    """Refuse `GROUP=OPTION` whose option does not exist, before Hydra does.

    Left to Hydra where it is told of other folders or of several values (`--config-dir`, `-m`).

    Args:
        overrides: the command line.
        configs: the folder of the groups.

    Raises:
        ConfigError: an unknown option; the message has the nearest one.
    """
    if any(item.startswith("-") for item in overrides):
        return
    for override in overrides:
        group, _, option = override.partition("=")
        if group not in GROUPS:
            continue
        known = sorted(file.stem for file in (configs / group).glob("*.yaml"))
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1, cutoff=0.0)
            raise ConfigError(
                f"unknown {group}={option}; did you mean {group}={near[0]}? "
                f"Known are {', '.join(known)}"
            )


def allow_any_argument(overrides: list[str]) -> list[str]:
    """Let `algo.NAME=VALUE` be any argument of an algorithm, also one that its file leaves out.

    Its names are checked against the algorithm's constructor later on, those of `lists.` against
    `VideoLists`.
    """
    return [f"++{item}" if item.startswith(("algo.", "lists.")) else item for item in overrides]


def check_algorithm(config: RunConfig) -> None:
    """Refuse unknown algorithms and arguments at once, whatever the command.

    A class of the user's own is looked at where it is used.

    Raises:
        ValueError: the message has the nearest name.
    """
    from agents.sb3.registry import CUSTOM, algorithm_arguments

    algo = config.algo
    if algo.class_path is None and algo.name != CUSTOM:
        algorithm_arguments(algo.name, algo.preset, algo.arguments)
