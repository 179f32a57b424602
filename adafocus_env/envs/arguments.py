"""What `make` and `from_parts` take: names, types and ranges, as their functions declare them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import numpy as np
import torch

from adafocus_env.values import check_value


def keywords_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only arguments of a function by name, with their types."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {item.name: hints[item.name] for item in parameters if item.kind is item.KEYWORD_ONLY}


def check_arguments(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The given arguments, if there are such; NumPy's numbers and a device as JSON has them.

    Args:
        given: by name.
        known: the types of all there are, by name.

    Raises:
        TypeError: there is no such argument (the message has the nearest one), or it is of another
            type.
        ValueError: it is out of range, or none of the words that it may be.
    """
    checked = {}
    for name, value in given.items():
        if name == "max_episode_steps":
            raise TypeError(
                "max_episode_steps: an episode always has exactly one step for each of its frames, "
                "and all rows end together; use num_frames= for shorter clips"
            )
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            cure = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            # Python's own words, which TorchRL looks for: it tries arguments of Atari's.
            raise TypeError(f"got an unexpected keyword argument '{name}'; {cure}")
        checked[name] = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, torch.device):
            checked[name] = str(value)
        check_value(name, checked[name], known[name])
    return checked
