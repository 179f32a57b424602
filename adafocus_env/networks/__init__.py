"""Glancer, focuser and classifier, and the recognizers that hold all three."""

from adafocus_env.files import CheckpointError
from adafocus_env.networks.backbones import BACKBONES, build_backbone
from adafocus_env.networks.classifier import AveragingClassifier, RecurrentClassifier
from adafocus_env.networks.focuser import Focuser, crop_patches
from adafocus_env.networks.frozen import FrozenNetworks
from adafocus_env.networks.glancer import Glancer, freeze
from adafocus_env.networks.loading import (
    FAMILIES,
    AnyRecognizer,
    AnyRecognizerConfig,
    build_recognizer,
    load_recognizer,
)
from adafocus_env.networks.recognizer_base import RecognizerBase
from adafocus_env.networks.recognizer_config import (
    class_mismatch,
    has_placeholder_names,
    placeholder_class_names,
)
from adafocus_env.networks.recurrent_recognizer import Recognizer, RecognizerConfig
from adafocus_env.networks.shift_recognizer import ShiftRecognizer, ShiftRecognizerConfig
from adafocus_env.networks.temporal_shift import TemporalShift, add_temporal_shift, shift_channels
from adafocus_env.trusted_imports import trust_import

__all__ = [
    "BACKBONES",
    "FAMILIES",
    "AnyRecognizer",
    "AnyRecognizerConfig",
    "AveragingClassifier",
    "CheckpointError",
    "Focuser",
    "FrozenNetworks",
    "Glancer",
    "Recognizer",
    "RecognizerBase",
    "RecognizerConfig",
    "RecurrentClassifier",
    "ShiftRecognizer",
    "ShiftRecognizerConfig",
    "TemporalShift",
    "add_temporal_shift",
    "build_backbone",
    "build_recognizer",
    "class_mismatch",
    "crop_patches",
    "freeze",
    "has_placeholder_names",
    "load_recognizer",
    "placeholder_class_names",
    "shift_channels",
    "trust_import",
]
