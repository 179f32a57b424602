"""What configuration files may write as `${NAME:...}`."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from train.runs.sweep import job_folder


def register_resolvers() -> None:
    """Teach OmegaConf two words.

    `${recipe:KEY}` is the experiment's value of KEY for the running command; `${job_folder:NUMBER}`
    the folder of a sweep's job.
    """

    def recipe(key: str, *, _root_: DictConfig) -> Any:
        recipes = _root_.get("recipes") or {}
        return (recipes.get(_root_.command) or {}).get(key)

    OmegaConf.register_new_resolver("recipe", recipe, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
