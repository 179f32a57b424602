"""Hydra's part: the YAML files and the keys' defaults composed, and read into typed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adafocus_env.files import first_line
from adafocus_env.shipped import SHIPPED, shipped_recognizer
from adafocus_env.trusted_imports import trust_import
from train.config.commands import ALL_KEYS, COMMANDS, OF_COMMAND, unknown_key
from train.config.keys import ConfigError, Key, keys_of
from train.config.learning import AlgoConfig
from train.config.sections import Section, VideosSection
from train.config.yaml_files import PUBLISHED_EXPERIMENTS, configs_path

S = TypeVar("S", bound=Section)


def prepare_hydra() -> None:
    """Tell Hydra the keys and their defaults, and the earlier names of experiments.

    And what `${recipe:KEY}` is: the experiment's value of KEY for the running command, where
    features come from a bank the one for `COMMAND_on_bank` if there is one; and
    `${spatial:NAME}`: its value for `gru_ppo`, where the spatial head is possible and no other
    preset was asked for.
    """

    def of_recipe(name: str, *, _root_: DictConfig) -> Any:
        recipes = _root_.get("recipes") or {}
        own = recipes.get(_root_.command) or {}
        on_bank = (_root_.features != "live" and recipes.get(f"{_root_.command}_on_bank")) or {}
        return {**own, **on_bank}.get(name)

    def of_spatial(name: str, *, _root_: DictConfig) -> Any:
        recipe = (_root_.get("recipes") or {}).get("gru_ppo") or {}
        own = _root_.algo.preset == recipe.get("preset", "demo")
        fits = own and _root_.locations != "continuous" and _root_.observation == "map"
        return recipe.get(name) if fits else None

    OmegaConf.register_new_resolver("recipe", of_recipe, replace=True)
    OmegaConf.register_new_resolver("spatial", of_spatial, replace=True)
    store = ConfigStore.instance()
    store.store("keys", node={"command": "???", **_defaults()})
    for old, (experiment, patch_size) in PUBLISHED_EXPERIMENTS.items():
        node = {"defaults": [experiment], "patch_size": patch_size}
        store.store(old, group="experiment", package="_global_", node=node)


def _defaults() -> dict[str, Any]:
    """What the composition begins with; null where commands have defaults of their own."""
    values: dict[str, Any] = {}
    for name, by_command in ALL_KEYS.items():
        one = next(iter(by_command.values()))
        if name == "algo":  # its group's file says all of it
            continue
        if one.from_recipe:
            values[name] = f"${{recipe:{name}}}"
        elif any(one.default is MISSING for one in by_command.values()):
            values[name] = "???"
        else:
            values[name] = None if name in OF_COMMAND else one.default
    return values


@dataclass(frozen=True)
class Composed:
    """All keys as the files and the command line set them.

    Attributes:
        cfg: Hydra's configuration.
        overrides: what the command line set.
    """

    cfg: DictConfig
    overrides: tuple[str, ...] = ()

    def read(self, kind: type[S], command: str, **changes: Any) -> S:
        """As the configuration of a command.

        Args:
            kind: of the command.
            command: whose recipe gives values.
            **changes: values of keys that go before.

        Raises:
            ConfigError: a missing, unknown or unusable value.
        """
        cfg = self.cfg.copy()
        cfg.command = command
        for name, value in changes.items():
            cfg[name] = value
        return _read(cfg, kind)


def compose_command(command: str, overrides: Sequence[str] = ()) -> Composed:
    """What Hydra makes of a command line.

    Raises:
        ConfigError: it cannot be made.
    """
    prepare_hydra()
    # Within a command, such as the demo, Hydra knows the folder already.
    running = GlobalHydra.instance().is_initialized()
    try:
        with (
            nullcontext()
            if running
            else initialize_config_dir(str(configs_path()), version_base="1.3")
        ):
            cfg = compose("config", overrides=[f"command={command}", *overrides])
    except HydraException as error:
        raise ConfigError(in_one_line(error)) from error
    return Composed(cfg, tuple(overrides))


def in_one_line(error: Exception) -> str:
    """What Hydra says; where it breaks off what comes from OmegaConf, that is in what follows.

    Where it says nothing of the cause, that is added.
    """
    says = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    cause = "" if error.__cause__ is None else str(error.__cause__).partition("\n")[0]
    return says if cause in says else f"{says}: {cause}"


def read_config(cfg: DictConfig) -> Any:
    """Hydra's configuration as that of its command, a subclass of `Section`.

    Raises:
        ConfigError: a missing, unknown or unusable value.
    """
    return _read(cfg, COMMANDS[cfg.command].config)


def read_parts(cfg: DictConfig) -> list[Section]:
    """The configurations of a command's parts, so that their mistakes are found before hours."""
    parts = COMMANDS[cfg.command].parts
    return [Composed(cfg).read(COMMANDS[part].config, part) for part in parts]


def _read(cfg: DictConfig, kind: type[S]) -> S:
    for name in cfg:
        if name not in (*ALL_KEYS, "command", "recipes"):
            raise ConfigError(unknown_key(str(name)))
    values = {name: _value(cfg, one, kind) for name, one in keys_of(kind).items()}
    for name in ("resume", "recognizer"):
        if values.get(name) == "shipped":
            values[name] = _shipped(name, cfg.dataset)
    for name in ("glancer", "focuser"):
        if isinstance(values.get(name), str):
            trust_import(values[name])  # the user's own command line or configuration names it
    return kind(command=cfg.command, **values)


def _value(cfg: DictConfig, one: Key, kind: type[Section]) -> Any:
    # Where no videos are opened, a data set's mandatory folder may be left out.
    needed = one.name != "data_dir" or issubclass(kind, VideosSection)
    if OmegaConf.is_missing(cfg, one.name):
        if not needed:
            return None
        raise ConfigError(f"{cfg.command} needs {one.wanted}")
    try:
        value = cfg[one.name]
        if isinstance(value, Container):
            value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error
    if value is None and one.name in OF_COMMAND and one.default is not MISSING:
        return one.default
    if one.name == "algo":
        return _algo(value)
    if one.types == (Path,):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def _algo(values: Mapping[str, Any]) -> AlgoConfig:
    arguments = dict(values)
    name, preset = arguments.pop("name"), arguments.pop("preset", None)
    class_path = arguments.pop("class_path", None)
    return AlgoConfig(name, preset, _without_nulls(arguments), class_path)


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are set, here and in mappings below."""
    cleaned = {k: _without_nulls(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {name: value for name, value in cleaned.items() if value is not None}


def _shipped(key: str, dataset: str) -> str:
    """What `resume=shipped` stands for."""
    if dataset not in SHIPPED:
        raise ConfigError(
            f"{key}=shipped: no recognizer for dataset={dataset} comes with the package, only for "
            f"{', '.join(SHIPPED)}; 'adafocus stage1' makes one"
        )
    return str(shipped_recognizer(dataset))
