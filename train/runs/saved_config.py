"""`config.yaml` of a run folder: what the run was told, and which lists and classes it read."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, with_config
from typing_extensions import NotRequired, TypedDict

from adafocus_env.files import CheckpointError, atomic_path, read_limited
from adafocus_env.schema import checked
from train.config.keys import ConfigError
from train.config.sections import ClassesSection, Section

log = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
DATA = "data"  # the entry beside the command's keys

_LARGEST = 2**20  # bytes
_MOST_EVENTS = 50_000  # of the YAML parser, one or two a value
_DEEPEST = 20
_SHOWN = 160  # letters of what a parser says
_CURE = "restore it, or name another folder"


@with_config(ConfigDict(extra="allow"))
class _Saved(TypedDict):
    """The entries that are not only compared."""

    command: str
    resume: NotRequired[str | None]
    recognizer: NotRequired[str | None]
    data: NotRequired[dict[str, dict[str, str | int]]]


def save_config(config: Section, folder: Path) -> None:
    """Write a run's configuration, and its data's fingerprint, into its folder."""
    values = {**config.plain(), DATA: data_fingerprint(config)}
    with atomic_path(folder / CONFIG_FILE) as part:
        OmegaConf.save(OmegaConf.create(values), part)


def saved_config(folder: Path) -> dict[str, Any] | None:
    """The configuration in a run folder; None where there is none.

    Raises:
        ConfigError: the file is damaged, or no run has written it.
    """
    file = folder / CONFIG_FILE
    if not file.is_file():
        return None
    try:
        text = read_limited(file, _LARGEST, _CURE).decode()
        _refuse_what_nobody_writes(text)
        values = OmegaConf.to_container(OmegaConf.create(text))
        checked(values, _Saved, file, _CURE)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    except (ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        says = " ".join(str(error).split())[:_SHOWN]
        raise ConfigError(f"{file} is damaged ({says}); {_CURE}") from error
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def readable_configs(folders: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folders that hold a configuration, each with it; damaged ones are reported, left out."""
    for folder in folders:
        try:
            saved = saved_config(folder)
        except ConfigError as error:
            log.warning("%s is left out: %s", folder, error)
        else:
            if saved is not None:
                yield folder, saved


def data_fingerprint(config: Section) -> dict[str, dict[str, str | int]]:
    """What tells the lists and the class file of a run from others; nothing of built-in videos.

    Raises:
        ConfigError: their names cannot be used.
    """
    if not isinstance(config, ClassesSection) or config.data_dir is None:
        return {}
    from adafocus_env.data.lists.dataset_files import PRESETS, find_files

    if config.dataset not in PRESETS:
        return {}
    try:
        files = find_files(config.dataset, data_dir=config.data_dir, lists=config.lists)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    parts = {"classes": files.class_file, **{s: files.list_file(s) for s in ("train", "val")}}
    found: dict[str, dict[str, str | int]] = {}
    for name, file in parts.items():
        if file.is_file():  # else the command itself says that it is missing
            content = file.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            found[name] = {"lines": len(content.splitlines()), "sha256": sha256}
    return found


def _refuse_what_nobody_writes(text: str) -> None:
    """Tags, aliases, which a few lines of make gigabytes of, and depth; nothing is built yet.

    Raises:
        ValueError: one of them is in the text.
        yaml.YAMLError: it is no YAML.
    """
    depth = 0
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for count, event in enumerate(yaml.parse(text, Loader=loader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has a YAML alias")
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"line {event.start_mark.line + 1} has the YAML tag {event.tag}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or count > _MOST_EVENTS:
            raise ValueError("it holds more than any command has keys")
