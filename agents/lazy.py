"""Public names of a package that are imported when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def imported_when_asked(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's `__getattr__`: importing the package does not import torch.

    Type checkers do not see these names; the package imports them under `TYPE_CHECKING`, too.

    Args:
        package: its `__name__`.
        homes: modules, and the names that they give to the package.
    """

    def attribute(name: str) -> Any:
        for module, names in homes.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute
