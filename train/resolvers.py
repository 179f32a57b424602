"""What configuration files may write as `${NAME:...}`."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf


def register_resolvers() -> None:
    """Teach OmegaConf `${recipe:KEY}`: the experiment's value of KEY for the running command."""

    def recipe(key: str, *, _root_: DictConfig) -> Any:
        recipes = _root_.get("recipes") or {}
        return (recipes.get(_root_.command) or {}).get(key)

    OmegaConf.register_new_resolver("recipe", recipe, replace=True)
