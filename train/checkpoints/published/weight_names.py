"""What the published Something-Something files call the weights of a `ShiftRecognizer`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from adafocus_env.networks.temporal_shift import unshifted_name

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
        `fc`). The focuser's own head is left out: published files do not have it. So is all of a
        focuser that is no ResNet.
    """
    found = {name: _published_name(name) for name in names}
    return {name: published for name, published in found.items() if published is not None}


def named_as_ours(
    part: str, weights: Mapping[str, Tensor], own: Iterable[str]
) -> dict[str, Tensor]:
    """Weights of one part under our names, whichever way a file names them.

    That is ours; the published code's; or torchvision's, where a convolution behind a shift is
    called as without it. One name can mean different weights, so the way that most names of the
    file follow is taken for all.

    Args:
        part: `"glancer"`, `"focuser"` or `"classifier"`.
        weights: of a file.
        own: our names.

    Returns:
        what is known under our names, anything else under the file's.
    """
    own, start = list(own), f"{part}."
    published = published_names(start + name for name in own)
    ways = (
        {name: name for name in own},
        {unshifted_name(name): name for name in own},
        {other.removeprefix(start): name.removeprefix(start) for name, other in published.items()},
    )
    way = max(ways, key=lambda names: len(names.keys() & weights.keys()))
    return {way.get(name, name): value for name, value in weights.items()}


def _published_name(name: str) -> str | None:
    part, rest = name.split(".", 1)
    if part == "classifier":
        return f"classifier.{rest.removeprefix('fc.')}"
    if part == "glancer":
        return f"glancer.{_mobilenet_name(rest)}"
    child, _, rest = rest.removeprefix("net.").partition(".")
    place = _CHILDREN.get(child)  # none of the head's, and of no other network than a ResNet
    return None if place is None else f"focuser.net.base_model.{place}.{rest}"


def _mobilenet_name(name: str) -> str:
    block = re.fullmatch(r"(net\.features\.(\d+)\.conv)\.(\d+(?:\.\d+)?)\.(.+)", name)
    if block is None:  # the first and the last convolution, and the head
        return name.replace("net.classifier.1.", "net.classifier.")
    before, number, place, rest = block.groups()
    return f"{before}.{(_FIRST_BLOCK if number == '1' else _BLOCK)[place]}.{rest}"
