"""What a file's weights lack, have too much, or have in another shape: always by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

_SHOWN = 4


@dataclass(frozen=True)
class WeightReport:
    """How the weights of a file fit a network.

    Attributes:
        read: how many weights fit.
        missing: names that the network has and the file has not.
        unexpected: names that the file has and the network has not.
        wrong_shapes: `"NAME is (2, 3) in the file but (2, 4) here"`.
    """

    read: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shapes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the network can be filled; unexpected weights do not hinder."""
        return not self.missing and not self.wrong_shapes

    @property
    def exact(self) -> bool:
        """Whether nothing is missing, unexpected or of another shape."""
        return self.complete and not self.unexpected

    def as_json(self) -> dict[str, Any]:
        """All names, for a file."""
        return asdict(self)

    def __str__(self) -> str:
        """One line with the first few names of each kind."""
        kinds = {
            "missing": self.missing,
            "of another shape": self.wrong_shapes,
            "unexpected": self.unexpected,
        }
        lines = [f"{len(names)} {kind}: {_few(names)}" for kind, names in kinds.items() if names]
        return "; ".join(lines) or f"all {self.read} weights fit"


def compare_weights(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, optional: Iterable[str] = ()
) -> WeightReport:
    """Compare a file's weights with a network's.

    Args:
        given: of the file, under the network's names.
        expected: the network's `state_dict()`.
        optional: names that may be missing.
    """
    both = [name for name in expected if name in given]
    wrong = [
        f"{name} is {tuple(given[name].shape)} in the file but {tuple(expected[name].shape)} here"
        for name in both
        if given[name].shape != expected[name].shape
    ]
    return WeightReport(
        len(both) - len(wrong),
        tuple(name for name in expected if name not in given and name not in set(optional)),
        tuple(name for name in given if name not in expected),
        tuple(wrong),
    )


def _few(names: tuple[str, ...]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
