"""What the published Something-Something files call the weights of a `ShiftRecognizer`."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Places in a MobileNetV2 block: torchvision nests convolution and BatchNorm, the published code
# counts them, and the activations between them, in one row. Block 1 has no expansion.
_BLOCK = {"0.0": "0", "0.1": "1", "1.0": "3", "1.1": "4", "2": "6", "3": "7"}
_FIRST_BLOCK = {"0.0": "0", "0.1": "1", "1": "3", "2": "4"}

# The published code counts the children of a ResNet: the ReLU and the pooling have no weights.
_CHILDREN = {"conv1": "0", "bn1": "1", **{f"layer{i}": str(i + 3) for i in range(1, 5)}}


def published_names(names: Iterable[str]) -> dict[str, str]:
    """Published names of weights, in files that hold a part after the other.

    Args:
        names: keys of a `ShiftRecognizer`'s state dict, full-size networks.

    Returns:
        ours -> `glancer.net.*`, `focuser.net.base_model.*` or `classifier.*` (the file's entry
        `fc`). The focuser's own head is left out: published files do not have it.
    """
    found = {name: _published_name(name) for name in names}
    return {name: published for name, published in found.items() if published is not None}


def _published_name(name: str) -> str | None:
    part, rest = name.split(".", 1)
    if part == "classifier":
        return f"classifier.{rest.removeprefix('fc.')}"
    if part == "glancer":
        return f"glancer.{_mobilenet_name(rest)}"
    child, rest = rest.removeprefix("net.").split(".", 1)
    return None if child == "fc" else f"focuser.net.base_model.{_CHILDREN[child]}.{rest}"


def _mobilenet_name(name: str) -> str:
    block = re.fullmatch(r"(net\.features\.(\d+)\.conv)\.(\d+(?:\.\d+)?)\.(.+)", name)
    if block is None:  # the first and the last convolution, and the head
        return name.replace("net.classifier.1.", "net.classifier.")
    before, number, place, rest = block.groups()
    return f"{before}.{(_FIRST_BLOCK if number == '1' else _BLOCK)[place]}.{rest}"
