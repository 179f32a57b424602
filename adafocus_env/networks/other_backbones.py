"""Backbones that are not ours: `timm:NAME`, or `package.module:Class` of one's own.

Both follow timm's convention: made with `num_classes=K`, `forward` gives logits `(N, K)` through a
linear layer that is the last one, and `forward_features` the map `(N, C, h, w)` before it. What
else there is to know is found by one trial pass.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adafocus_env.files import first_line
from adafocus_env.networks.backbone import Backbone
from adafocus_env.trusted_imports import TRUST_VARIABLE, is_trusted

TIMM = "timm:"
_TRIAL_SIDE = 128  # pixels; four cells at stride 32, and small
# Activations with an upper bound.
_BOUNDS: tuple[tuple[type[nn.Module], float], ...] = (
    (nn.ReLU6, 6.0),
    (nn.Sigmoid, 1.0),
    (nn.Hardsigmoid, 1.0),
)


def is_other(name: str) -> bool:
    """Whether a backbone's name is one of timm's or an import path."""
    return ":" in name


def build_other(name: str, num_classes: int) -> Backbone:
    """Build a network that is not ours with new weights, and try it.

    Args:
        name: `timm:NAME` or `package.module:Class`.
        num_classes: K.

    Raises:
        ValueError: there is no such network, it may not be imported, or it has no feature map.
    """
    make = _timm_model if name.startswith(TIMM) else _imported_class
    net = make(name, num_classes)
    if not isinstance(net, nn.Module):
        raise ValueError(f"backbone {name!r} makes a {type(net).__name__}, not a torch.nn.Module")
    return _tried(name, net, num_classes)


def _timm_model(name: str, num_classes: int) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"backbone {name!r} needs timm: pip install 'adafocus-env[timm]'"
        ) from error
    model = name.removeprefix(TIMM)
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=1)
        hint = f"; did you mean {TIMM}{near[0]}?" if near else ""
        raise ValueError(f"timm has no network {model!r}{hint}")
    return timm.create_model(model, pretrained=False, num_classes=num_classes)


def _imported_class(name: str, num_classes: int) -> Any:
    module, _, attribute = name.partition(":")
    if not is_trusted(name):
        raise ValueError(
            f"backbone {name!r} is an import path, and importing it runs code: if you know where "
            f"it comes from, say {TRUST_VARIABLE}={name} in the environment, or call "
            f"adafocus_env.networks.trust_import({name!r})"
        )
    try:
        made: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"backbone {name!r} cannot be imported: {error}") from error
    try:
        return made(num_classes=num_classes)
    except TypeError as error:
        raise ValueError(f"backbone {name!r} cannot be made with num_classes=: {error}") from error


def _tried(name: str, net: nn.Module, num_classes: int) -> Backbone:
    frames = torch.zeros(1, 3, _TRIAL_SIDE, _TRIAL_SIDE)
    bounded: list[tuple[Tensor, float]] = []
    hooks = [
        module.register_forward_hook(_remember(bounded, bound))
        for module in net.modules()
        for kind, bound in _BOUNDS
        if isinstance(module, kind)
    ]
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            found = net.forward_features(frames)  # type: ignore[operator]  # or it has none
            logits = net(frames)
    except Exception as error:  # whatever a network of others raises, it has no map for us
        raise ValueError(f"{_without_map(name)}: {first_line(error)}") from error
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    if not isinstance(found, Tensor) or found.dim() != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{_without_map(name)}: it gives {shape}")
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        raise ValueError(f"backbone {name!r}: forward does not give (N, {num_classes}) logits")
    if not any(isinstance(module, nn.Linear) for module in net.modules()):
        raise ValueError(f"backbone {name!r} ends in no linear layer, which stage 0 trains")
    last = getattr(net, "num_features", None) == found.shape[3] != found.shape[1]
    return Backbone(
        net,
        _features_last if last else _features,
        found.shape[3 if last else 1],
        next((bound for output, bound in bounded if output is found), None),
    )


def _without_map(name: str) -> str:
    return (
        f"backbone {name!r} has no feature map: forward_features must give (N, C, h, w) of "
        f"{_TRIAL_SIDE} pixels"
    )


def _remember(
    bounded: list[tuple[Tensor, float]], bound: float
) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(_module: nn.Module, _given: Any, output: Tensor) -> None:
        bounded.append((output, bound))

    return hook


def _features(net: nn.Module, frames: Tensor) -> Tensor:
    feature_map: Tensor = net.forward_features(frames)  # type: ignore[operator]
    return feature_map


def _features_last(net: nn.Module, frames: Tensor) -> Tensor:
    """Of networks whose maps are `(N, h, w, C)`."""
    return _features(net, frames).permute(0, 3, 1, 2)
