"""A recognizer of whichever family: made from its configuration, or read from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch

from adafocus_env.files import CheckpointError
from adafocus_env.networks.recognizer_base import CONFIG_FILE, read_description
from adafocus_env.networks.recurrent_recognizer import Recognizer, RecognizerConfig
from adafocus_env.networks.shift_recognizer import ShiftRecognizer, ShiftRecognizerConfig

AnyRecognizer: TypeAlias = Recognizer | ShiftRecognizer
AnyRecognizerConfig: TypeAlias = RecognizerConfig | ShiftRecognizerConfig

_FAMILIES: dict[str, type[Recognizer] | type[ShiftRecognizer]] = {
    RecognizerConfig.family: Recognizer,
    ShiftRecognizerConfig.family: ShiftRecognizer,
}
FAMILIES = tuple(_FAMILIES)


def build_recognizer(config: AnyRecognizerConfig) -> AnyRecognizer:
    """A recognizer of the configuration's family, with new weights."""
    if isinstance(config, ShiftRecognizerConfig):
        return ShiftRecognizer(config)
    return Recognizer(config)


def load_recognizer(folder: str | Path, *, device: str | torch.device = "cpu") -> AnyRecognizer:
    """Read what a recognizer's `save` wrote; its family is in the file.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: the files do not fit each other or this version, or an unknown family.
    """
    folder = Path(folder)
    family = read_description(folder)["family"]
    if family not in _FAMILIES:
        raise CheckpointError(
            f"{folder / CONFIG_FILE}: unknown family {family!r}; known are {', '.join(FAMILIES)}"
        )
    return _FAMILIES[family].load(folder, device=device)
