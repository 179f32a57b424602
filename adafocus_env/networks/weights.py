"""Weights from files: of the shapes that a network needs, and finite; nothing is executed."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adafocus_env.files import CheckpointError, regular
from adafocus_env.networks.weight_report import compare_weights

_CURE = "use an undamaged copy"
_OF_A_SMALL_NETWORK, _OF_A_TENSOR = 2**22, 2**10  # numbers
_MAKE_TENSORS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)


class NoMoreNumbers(TorchFunctionMode):
    """Within it networks cannot be made of sizes that fill a memory, or of layers without end.

    Args:
        most: numbers in all tensors together, beside those of a small network.
    """

    def __init__(self, most: int):
        super().__init__()
        self._left = most + _OF_A_SMALL_NETWORK

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count what is about to be made.

        Raises:
            ValueError: it is too much.
        """
        given = kwargs or {}
        if func in _MAKE_TENSORS:
            size = given.get("size", args[0] if args and not isinstance(args[0], int) else args)
            self._left -= max(_OF_A_TENSOR, math.prod(size))
            if self._left < 0:
                raise ValueError("the sizes need more weights than the file has")
        return func(*args, **given)


def read_weights(path: Path, expected: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: of the file.
        expected: a network's `state_dict()`, perhaps on the meta device: shapes are compared before
            any weight is read. None takes all that there is.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it is damaged, has other weights, or some that are not finite.
    """
    regular(path)
    try:
        if expected is not None:
            _refuse_others(path, expected)
        weights = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} holds no weights ({error}); {_CURE}") from error
    refuse_not_finite(weights, path)
    return weights


def refuse_not_finite(
    weights: Mapping[str, Tensor], path: Path, where: str = "", cure: str = "use another one"
) -> None:
    """Refuse weights that are infinite or no number.

    Args:
        weights: by name.
        path: of the file, for the message.
        where: what stands before the names, such as `policy.`.
        cure: what to do about such a file.

    Raises:
        CheckpointError: the message names the file and the first such tensor.
    """
    for name, values in weights.items():
        if values.layout is not torch.strided or _is_larger_than_its_storage(values):
            raise CheckpointError(f"{path}: {where}{name} is no plain tensor; {cure}")
        if (values.is_floating_point() or values.is_complex()) and not bool(
            values.isfinite().all()
        ):
            count = int((~values.isfinite()).sum())
            raise CheckpointError(
                f"{path}: {count} of the {values.numel()} numbers in {where}{name} are not finite; "
                f"the training that wrote it diverged, or the file is damaged; {cure}"
            )


def load_plain(path: Path) -> Any:
    """What `torch.save` wrote, of tensors, numbers, text and collections alone, on the CPU.

    Raises:
        CheckpointError: it is compressed, which no such file is: in memory it would be much larger.
        Exception: of any kind where the file is damaged, or holds more.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > path.stat().st_size:
            raise CheckpointError(
                f"{path} is compressed, to a part of {size} bytes, and torch.save does not do "
                f"that; {_CURE}"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how the file was pickled: it is read or refused
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_larger_than_its_storage(values: Tensor) -> bool:
    """Whether a few numbers stand for many, as `expand` makes it: checking them would copy them."""
    return values.numel() * values.element_size() > values.untyped_storage().nbytes()


def _refuse_others(path: Path, expected: Mapping[str, Tensor]) -> None:
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        shapes = {name: file.get_slice(name).get_shape() for name in names}
    given = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    report = compare_weights(given, expected)
    if not report.exact:
        raise CheckpointError(f"{path} does not fit the configuration beside it: {report}")
